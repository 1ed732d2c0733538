/**
 * @typedef {{left: number, top: number, right: number, bottom: number}} Rect
 *     Pixels of the clip; right and bottom are excluded.
 * @typedef {{x: number, y: number}} Point  Pixels of the clip; the center of the first pixel is (0.5, 0.5).
 * @typedef {object} Step  What a stroke led to, for undo.
 * @property {number[]} mask  see `encode()`
 * @property {number[]} strokes
 * @property {LabelBox?} box
 * @property {boolean} settled  whether the mask is what the stroke means; the server may still have to complete it
 *
 * @typedef {{label: number, left: number, top: number, right: number, bottom: number}} LabelBox  around an object
 * @typedef {{strokes: number[], base: number[], boxes: LabelBox[]}} Completion  What the server needs to complete
 *     strokes: all strokes of the frame, and the mask before those that are not completed yet.
 */

const HISTORY_NUMBERS = 1 << 22; // run lengths that undo may keep
const OUTSIDE = 255; // label of a stroke outside all objects

/** The smallest rectangle around two; either may be null. @param {Rect?} one @param {Rect?} other @returns {Rect?} */
function union(one, other) {
    if (!one || !other) return one || other;
    return {
        left: Math.min(one.left, other.left),
        top: Math.min(one.top, other.top),
        right: Math.max(one.right, other.right),
        bottom: Math.max(one.bottom, other.bottom),
    };
}

/** Run lengths row by row: label, number of pixels, label, ... @param {Uint8Array} labels @returns {number[]} */
function encode(labels) {
    const runs = [];
    for (let start = 0, end = 0; start < labels.length; start = end) {
        const label = labels[start];
        while (end < labels.length && labels[end] === label) end++;
        runs.push(label, end - start);
    }
    return runs;
}

/** @param {number[]} runs see `encode()` @param {Uint8Array} labels is filled with them */
function decode(runs, labels) {
    let start = 0;
    for (let i = 0; i < runs.length; i += 2) {
        labels.fill(runs[i], start, start + runs[i + 1]);
        start += runs[i + 1];
    }
}

/** @param {number[]} one @param {number[]} other */
function sameRuns(one, other) {
    return one.length === other.length && one.every((value, index) => value === other[index]);
}

/**
 * The labels of a frame's pixels and the strokes that led to them, with undo. The labels stay exact: nothing is read back
 * from a canvas.
 */
class LabelMap {
    /** @param {number} width @param {number} height @param {number[]} runs see `encode()` */
    constructor(width, height, runs) {
        this.width = width;
        this.height = height;
        this.labels = new Uint8Array(width * height);
        this.strokes = new Uint8Array(width * height);
        decode(runs, this.labels);
        /** @type {Rect?} */
        this._edited = null;
        /** @type {Step[]} */
        this._steps = [{mask: this.runs(), strokes: encode(this.strokes), box: null, settled: true}];
        this._now = 0;
    }

    /** @returns {Rect} */
    get all() {
        return {left: 0, top: 0, right: this.width, bottom: this.height};
    }

    runs() {
        return encode(this.labels);
    }

    /** Whether no pixel has a label. */
    get empty() {
        return this.labels.every((label) => !label);
    }

    /** The label of a pixel; 0 outside the frame. @param {number} x @param {number} y @returns {number} */
    at(x, y) {
        const inside = x >= 0 && y >= 0 && x < this.width && y < this.height;
        return inside ? this.labels[Math.floor(y) * this.width + Math.floor(x)] : 0;
    }

    /**
     * Sets the pixels within a radius of a line.
     * @param {Point} from @param {Point} to @param {number} radius @param {number} label
     * @returns {Rect?} what may have changed
     */
    line(from, to, radius, label) {
        const reach = Math.max(radius, 0.71); // the pixel under the pointer belongs to the thinnest line as well
        const rect = this._clip({
            left: Math.floor(Math.min(from.x, to.x) - reach),
            top: Math.floor(Math.min(from.y, to.y) - reach),
            right: Math.ceil(Math.max(from.x, to.x) + reach),
            bottom: Math.ceil(Math.max(from.y, to.y) + reach),
        });
        if (!rect) return null;
        const dx = to.x - from.x, dy = to.y - from.y, length2 = dx * dx + dy * dy;
        for (let y = rect.top; y < rect.bottom; y++) {
            for (let x = rect.left; x < rect.right; x++) {
                const px = x + 0.5 - from.x, py = y + 0.5 - from.y;
                const along = length2 ? Math.min(1, Math.max(0, (px * dx + py * dy) / length2)) : 0;
                const ex = px - along * dx, ey = py - along * dy;
                if (ex * ex + ey * ey <= reach * reach) this._set(y * this.width + x, label);
            }
        }
        this._edited = union(this._edited, rect);
        return rect;
    }

    /**
     * Sets the connected area of equal labels around a pixel.
     * @param {number} x @param {number} y @param {number} label
     * @returns {Rect?} what has changed; null if the area has the label already, or is open: background that
     *     reaches the frame's border and covers more than half of the frame
     */
    fill(x, y, label) {
        const {labels, width, height} = this, start = Math.floor(y) * width + Math.floor(x), old = labels[start];
        if (old === undefined || old === label) return null;
        const rect = {left: width, top: height, right: 0, bottom: 0}, waiting = [start];
        let count = 0;
        this._set(start, label);
        const visit = (/** @type {number} */ index) => {
            if (labels[index] !== old) return;
            this._set(index, label);
            waiting.push(index);
        };
        for (let index = waiting.pop(); index !== undefined; index = waiting.pop()) {
            const column = index % width, row = (index - column) / width;
            count++;
            rect.left = Math.min(rect.left, column);
            rect.top = Math.min(rect.top, row);
            rect.right = Math.max(rect.right, column + 1);
            rect.bottom = Math.max(rect.bottom, row + 1);
            if (column > 0) visit(index - 1);
            if (column < width - 1) visit(index + 1);
            if (row > 0) visit(index - width);
            if (row < height - 1) visit(index + width);
        }
        this._edited = union(this._edited, rect);
        const atBorder = !rect.left || !rect.top || rect.right === width || rect.bottom === height;
        if (old === 0 && atBorder && count > labels.length / 2) {
            this.rollback();
            return null;
        }
        return rect;
    }

    /** Sets every pixel to background, and forgets the strokes. @returns {Rect} */
    clear() {
        this.labels.fill(0);
        this.strokes.fill(0);
        this._edited = this.all;
        return this.all;
    }

    /** Whether something may have changed since the last `commit()`. */
    get isEdited() {
        return this._edited !== null;
    }

    /**
     * Ends an edit: it becomes one step of undo.
     * @param {{settled?: boolean, box?: LabelBox?}} step
     * @returns {boolean} whether it changed something
     */
    commit({settled = true, box = null} = {}) {
        if (!this._edited && !box) return false;
        this._edited = null;
        const step = {mask: this.runs(), strokes: encode(this.strokes), box, settled}, last = this._steps[this._now];
        if (!box && sameRuns(step.mask, last.mask) && (settled || sameRuns(step.strokes, last.strokes))) return false;
        this._steps.splice(++this._now, Infinity, step);
        let numbers = this._steps.reduce((sum, {mask, strokes}) => sum + mask.length + strokes.length, 0);
        while (numbers > HISTORY_NUMBERS && this._now > 1) {
            numbers -= this._steps[0].mask.length + this._steps[0].strokes.length;
            this._steps.shift();
            this._now--;
        }
        return true;
    }

    /** Takes back what has changed since the last `commit()`. @returns {Rect?} what has changed */
    rollback() {
        return this._edited && this._restore(this._now);
    }

    /** Makes a mask from the server the result of the last stroke. @param {number[]} runs @returns {Rect} */
    settle(runs) {
        const step = this._steps[this._now];
        Object.assign(step, {mask: runs, settled: true});
        return this._restore(this._now);
    }

    /** What is to be completed; null if the mask is settled. @returns {Completion?} */
    get completion() {
        let settled = this._now;
        while (settled > 0 && !this._steps[settled].settled) settled--;
        const open = this._steps.slice(settled + 1, this._now + 1);
        if (!open.length) return null;
        const boxes = open.flatMap(({box}) => (box ? [box] : []));
        return {strokes: this._steps[this._now].strokes, base: this._steps[settled].mask, boxes};
    }

    get canUndo() {
        return this._now > 0;
    }

    get canRedo() {
        return this._now < this._steps.length - 1;
    }

    /** Takes back the last stroke and what was made of it. @returns {Rect?} what has changed */
    undo() {
        return this.canUndo ? this._restore(--this._now) : null;
    }

    /** Repeats the stroke that was taken back last. @returns {Rect?} what has changed */
    redo() {
        return this.canRedo ? this._restore(++this._now) : null;
    }

    /** @param {number} index @param {number} label */
    _set(index, label) {
        this.labels[index] = label;
        this.strokes[index] = label || OUTSIDE;
    }

    /** @param {number} index of a step @returns {Rect} */
    _restore(index) {
        decode(this._steps[index].mask, this.labels);
        decode(this._steps[index].strokes, this.strokes);
        this._edited = null;
        return this.all;
    }

    /** @param {Rect} rect @returns {Rect?} */
    _clip({left, top, right, bottom}) {
        left = Math.max(left, 0);
        top = Math.max(top, 0);
        right = Math.min(right, this.width);
        bottom = Math.min(bottom, this.height);
        return left < right && top < bottom ? {left, top, right, bottom} : null;
    }
}
