/**
 * @typedef {{left: number, top: number, right: number, bottom: number}} Rect
 *     Pixels of the clip; right and bottom are excluded.
 * @typedef {{x: number, y: number}} Point  Pixels of the clip; the center of the first pixel is (0.5, 0.5).
 * @typedef {{rect: Rect, labels: Uint8Array}} Patch  Labels of a rectangle, row by row.
 */

const HISTORY_BYTES = 1 << 26;

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

/** The labels of a frame's pixels, with undo. The labels stay exact: nothing is read back from a canvas. */
class LabelMap {
    /** @param {number} width @param {number} height @param {number[]} runs see `runs()` */
    constructor(width, height, runs) {
        this.width = width;
        this.height = height;
        this.labels = new Uint8Array(width * height);
        let start = 0;
        for (let i = 0; i < runs.length; i += 2) {
            this.labels.fill(runs[i], start, start + runs[i + 1]);
            start += runs[i + 1];
        }
        this._before = this.labels.slice();
        /** @type {Rect?} */
        this._edited = null;
        /** @type {Patch[]} */
        this._history = [];
        this._undone = 0;
    }

    /** @returns {Rect} */
    get all() {
        return {left: 0, top: 0, right: this.width, bottom: this.height};
    }

    /** Run lengths row by row: label, number of pixels, label, ... @returns {number[]} */
    runs() {
        const {labels} = this, runs = [];
        for (let start = 0, end = 0; start < labels.length; start = end) {
            const label = labels[start];
            while (end < labels.length && labels[end] === label) end++;
            runs.push(label, end - start);
        }
        return runs;
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
                if (ex * ex + ey * ey <= reach * reach) this.labels[y * this.width + x] = label;
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
        labels[start] = label;
        const visit = (/** @type {number} */ index) => {
            if (labels[index] !== old) return;
            labels[index] = label;
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

    /** Sets every pixel to background. @returns {Rect} */
    clear() {
        this.labels.fill(0);
        this._edited = this.all;
        return this.all;
    }

    /** Whether something may have changed since the last `commit()`. */
    get isEdited() {
        return this._edited !== null;
    }

    /** Ends an edit: what has changed since the last one becomes one step of undo. @returns {boolean} whether it did */
    commit() {
        const rect = this._edited;
        this._edited = null;
        if (!rect) return false;
        const before = this._copy(this._before, rect), after = this._copy(this.labels, rect);
        if (before.every((label, index) => label === after[index])) return false;
        this._paste(this._before, {rect, labels: after});
        this._history.length -= this._undone;
        this._undone = 0;
        this._history.push({rect, labels: before});
        let bytes = this._history.reduce((sum, patch) => sum + patch.labels.length, 0);
        while (bytes > HISTORY_BYTES && this._history.length > 1) bytes -= this._history.shift()?.labels.length ?? 0;
        return true;
    }

    /** Takes back what has changed since the last `commit()`. @returns {Rect?} what has changed */
    rollback() {
        const rect = this._edited;
        this._edited = null;
        if (rect) this._paste(this.labels, {rect, labels: this._copy(this._before, rect)});
        return rect;
    }

    get canUndo() {
        return this._undone < this._history.length;
    }

    get canRedo() {
        return this._undone > 0;
    }

    /** Takes back the last edit. @returns {Rect?} what has changed */
    undo() {
        return this.canUndo ? this._swap(this._history[this._history.length - ++this._undone]) : null;
    }

    /** Repeats the edit that was taken back last. @returns {Rect?} what has changed */
    redo() {
        return this.canRedo ? this._swap(this._history[this._history.length - this._undone--]) : null;
    }

    /** @param {Patch} patch @returns {Rect} */
    _swap(patch) {
        const current = this._copy(this.labels, patch.rect);
        this._paste(this.labels, patch);
        this._paste(this._before, patch);
        patch.labels = current;
        return patch.rect;
    }

    /** @param {Uint8Array} from @param {Rect} rect @returns {Uint8Array} */
    _copy(from, {left, top, right, bottom}) {
        const copy = new Uint8Array((right - left) * (bottom - top));
        for (let y = top; y < bottom; y++)
            copy.set(from.subarray(y * this.width + left, y * this.width + right), (y - top) * (right - left));
        return copy;
    }

    /** @param {Uint8Array} into @param {Patch} patch */
    _paste(into, {rect: {left, top, right, bottom}, labels}) {
        const width = right - left;
        for (let y = top; y < bottom; y++)
            into.set(labels.subarray((y - top) * width, (y - top + 1) * width), y * this.width + left);
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
