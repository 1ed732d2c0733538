/**
 * @typedef {object} FrameMessage  From the server: a frame to paint on.
 * @property {number} frame
 * @property {string} revision  changes when the server replaces the mask; earlier strokes do not apply to it
 * @property {number} stroke  number of the last stroke that the server has
 * @property {boolean} answer  whether it only answers a stroke: it does not change the frame in the editor
 * @property {boolean} pending  whether the server still completes that stroke
 * @property {number} width
 * @property {number} height
 * @property {{url: string}} picture  may be smaller than the frame
 * @property {number[]} mask  see `encode()`
 * @property {string} note
 * @property {boolean} reveal  whether to scroll to the editor
 *
 * @typedef {object} Edit  To the server: the mask of a frame after a stroke.
 * @property {number} frame
 * @property {string} revision
 * @property {number} stroke
 * @property {number[]} mask
 * @property {Completion?} completion  null where the mask is exactly what was painted
 *
 * @typedef {{frame: number, edits: Edit[]}} PageMessage  To the server: the frame in the editor, and its edits.
 * @typedef {{value: any, colors: string[], texts: Texts}} Props
 */

const SEND_AFTER = 20; // [ms]
const PREPARE_AFTER = 300; // [ms]; frames that are only passed by need no preparation
const SMALLEST_BOX = 4; // [pixels of the clip]
const RETRY_AFTER = [500, 2000, 5000]; // [ms]

class Editor {
    /** @param {HTMLElement} element @param {(event: string) => void} trigger @param {Props} props */
    constructor(element, trigger, props) {
        const find = (/** @type {string} */ name) =>
            /** @type {HTMLElement} */ (element.querySelector(`.editor${name}`));
        this.trigger = trigger;
        this.props = props;
        this.root = find('');
        this.note = find('-note');
        this.picture = /** @type {HTMLImageElement} */ (find('-stage img'));
        this.surface = find('-view');
        this.cursor = find('-cursor');
        this.frame = find('-box');
        this.size = /** @type {HTMLInputElement} */ (find('-size'));
        this.view = new View(this.surface, find('-stage'));
        this.canvas = new MaskCanvas(/** @type {HTMLCanvasElement} */ (find('-stage canvas')), props.colors);
        /** @type {FrameMessage?} */
        this.shown = null;
        /** @type {FrameMessage?} */
        this.wanted = null;
        /** @type {Edit[]} the last edit of the frame in the editor and of the one before it */
        this.edits = [];
        this.map = new LabelMap(0, 0, []);
        this.tool = 'brush';
        this.label = 1;
        this.completes = true;
        this.timers = {send: 0, prepare: 0};
        /** @type {Rect?} the box that is being dragged */
        this.box = null;
        /** @type {Point} */
        this.last = {x: 0, y: 0};
        this.palette = find('-objects');
        this.opacity = /** @type {HTMLInputElement} */ (find('-opacity'));
        this.endStroke = connectGestures(this.surface, this.view, {
            start: (at) => this.startStroke(at),
            extend: (to) => this.extendStroke(to),
            end: () => this.finish(),
            cancel: () => {
                this.showBox(null);
                this.redraw(this.map.rollback());
            },
            moves: () => this.tool === 'move' || !this.shown,
        });
        this.surface.addEventListener('pointermove', (event) => this.moveCursor(event));
        this.root.addEventListener('click', (event) => this.click(/** @type {HTMLElement} */ (event.target)));
        this.root.addEventListener('keydown', (event) => this.press(event));
        this.opacity.addEventListener('input', () => {
            this.canvas.opacity = Number(this.opacity.value);
            this.redraw(this.map.all);
        });
        this.update();
    }

    /** Radius of the brush [pixels of the clip]; the slider goes from one pixel to a third of the short side. */
    get radius() {
        return Math.pow(Math.min(this.map.width, this.map.height) / 3, Number(this.size.value)) / 2;
    }

    /** Takes a value from the server: a frame, or none. @param {FrameMessage?} message */
    async receive(message) {
        if (!message) {
            this.wanted = null;
            return this.show(null);
        }
        if (!message.picture) return;
        if (message.answer && this.wanted?.frame !== message.frame) return this.publish();
        // Another message of the frame can arrive while its picture loads, as the answer to the stroke before.
        const reveal = message.reveal || (this.wanted?.frame === message.frame && this.wanted.reveal);
        message = this.wanted = {...message, reveal};
        this.publish(); // the server's message has replaced what was not sent yet
        if (this.shown?.frame === message.frame && this.shown.revision === message.revision) this.refresh(message);
        else await this.load(message);
    }

    /** Shows what the server made of the last stroke, unless another one has begun meanwhile. @param {FrameMessage} message */
    refresh(message) {
        this.root.dataset.state = 'ready';
        const outdated = this.map.isEdited || (this.shown !== null && message.stroke < this.shown.stroke);
        if (!outdated && !message.pending) {
            if (this.map.completion) this.say(this.text('editor.completed', {frame: message.frame}));
            else if (this.shown && !sameRuns(message.mask, this.map.runs())) {
                this.say(message.note);
                Object.assign(this.shown, {mask: message.mask, note: message.note});
            }
            this.redraw(this.map.settle(message.mask));
            this.update();
        }
        this.reveal(message);
    }

    /** Shows a frame once its picture is there; until then, strokes go to the frame that is shown. @param {FrameMessage} message */
    async load(message) {
        this.root.dataset.state = 'loading';
        for (const pause of [0, ...RETRY_AFTER]) {
            await new Promise((done) => setTimeout(done, pause));
            const picture = new Image();
            picture.src = message.picture.url;
            const loaded = await picture.decode().then(() => true, () => false);
            if (this.wanted !== message) return; // another frame was chosen meanwhile
            if (!loaded) continue;
            this.endStroke();
            picture.alt = '';
            this.picture.replaceWith(picture);
            this.picture = picture;
            this.show(message);
            this.reveal(message);
            return;
        }
        this.say(this.text('editor.not_loaded', {frame: message.frame}));
        this.root.dataset.state = this.shown ? 'ready' : 'empty';
    }

    /** @param {FrameMessage?} message */
    show(message) {
        const resized = message?.width !== this.shown?.width || message?.height !== this.shown?.height;
        this.shown = message;
        if (!message) this.edits = [];
        this.map = new LabelMap(message?.width ?? 0, message?.height ?? 0, message?.mask ?? []);
        this.root.dataset.state = message ? 'ready' : 'empty';
        if (message && resized) this.view.fit(message.width, message.height);
        this.canvas.show(this.map, this.view.scale);
        this.surface.setAttribute('aria-label', this.text(message ? 'editor.surface_of' : 'editor.surface', {frame: message?.frame}));
        this.say(message ? message.note : this.text('editor.none'));
        this.publish();
        this.update();
        clearTimeout(this.timers.prepare);
        if (message) this.timers.prepare = setTimeout(() => this.trigger('load'), PREPARE_AFTER);
    }

    /** @param {FrameMessage} message */
    reveal(message) {
        if (!message.reveal) return;
        message.reveal = false;
        this.endStroke(); // with the tool that it began with
        this.tool = 'brush';
        this.update();
        this.root.scrollIntoView({block: 'nearest'});
        this.surface.focus({preventScroll: true});
    }

    /** @param {Point} at */
    startStroke(at) {
        this.last = at;
        if (this.tool !== 'fill') return this.extendStroke(at);
        const filled = this.map.fill(at.x, at.y, this.label);
        if (filled) this.redraw(filled);
        else if (this.map.at(at.x, at.y) !== this.label) this.say(this.text('editor.open'));
    }

    /** @param {Point} to */
    extendStroke(to) {
        if (this.tool === 'fill') return;
        if (this.tool === 'box') return this.showBox(this.boxTo(to));
        const changed = this.map.line(this.last, to, this.radius, this.tool === 'eraser' ? 0 : this.label);
        this.last = to;
        this.redraw(changed);
    }

    /** The box from where the drag began. @param {Point} to @returns {Rect} */
    boxTo(to) {
        const within = (/** @type {number} */ value, /** @type {number} */ size) => Math.min(size, Math.max(0, Math.round(value)));
        const xs = [this.last.x, to.x].map((x) => within(x, this.map.width)).sort((one, other) => one - other);
        const ys = [this.last.y, to.y].map((y) => within(y, this.map.height)).sort((one, other) => one - other);
        return {left: xs[0], top: ys[0], right: xs[1], bottom: ys[1]};
    }

    /** @param {Rect?} box */
    showBox(box) {
        this.box = box;
        this.frame.hidden = !box;
        if (!box) return;
        const {left, top, right, bottom} = box, width = this.map.width, height = this.map.height;
        const insets = [top / height, 1 - right / width, 1 - bottom / height, left / width];
        this.frame.style.inset = insets.map((share) => `${100 * share}%`).join(' ');
        this.frame.style.setProperty('--color', this.props.colors[this.label]);
        this.frame.style.setProperty('--edge', `${2 / this.view.scale}px`);
    }

    /** Ends a stroke or a box: it can be undone, and goes to the server. */
    finish() {
        const dragged = this.box;
        this.showBox(null);
        if (dragged) {
            if (Math.min(dragged.right - dragged.left, dragged.bottom - dragged.top) < SMALLEST_BOX)
                return this.say(this.text('editor.drag'));
            this.map.commit({settled: false, box: {label: this.label, ...dragged}});
            return this.edited();
        }
        const exact = !this.completes || this.tool === 'fill' || this.label === OUTSIDE;
        if (this.map.commit({settled: exact})) this.edited();
    }

    /** Records the mask as an edit of its frame, and sends it. */
    edited() {
        if (!this.shown) return;
        const {frame, revision} = this.shown, stroke = ++this.shown.stroke, {completion} = this.map;
        const others = this.edits.filter((edit) => edit.frame !== frame).slice(-1);
        const mask = this.map.runs();
        this.edits = [...others, {frame, revision, stroke, mask, completion}];
        if (completion) this.say(this.text('editor.completing', {frame}));
        else if (sameRuns(mask, this.shown.mask)) this.say(this.shown.note); // undone
        else this.say(this.text(this.map.empty ? 'editor.empty' : 'editor.painted', {frame}));
        this.publish();
        this.update();
        clearTimeout(this.timers.send);
        this.timers.send = setTimeout(() => this.trigger('input'), SEND_AFTER);
    }

    /** Makes the edits the component's value, which every event of the page takes to the server. */
    publish() {
        if (!this.shown) return; // gradio would turn null into '', a change that the editor is told of
        /** @type {PageMessage} */
        const message = {frame: this.shown.frame, edits: this.edits};
        this.props.value = message;
    }

    /** @param {string} key @param {Record<string, any>} [values] */
    text(key, values) {
        return textOf(this.props.texts, key, values);
    }

    /** @param {string} text */
    say(text) {
        this.note.textContent = text;
    }

    /** @param {Rect?} rect what has changed */
    redraw(rect) {
        if (rect) this.canvas.draw(this.map, rect);
    }

    /** @param {Rect?} changed by undo or redo */
    step(changed) {
        this.redraw(changed);
        if (changed) this.edited();
    }

    /** @param {HTMLElement} target */
    click(target) {
        const {tool, action, label} = target.closest('button')?.dataset ?? {};
        if (tool) this.tool = tool;
        if (label) this.choose(Number(label));
        if (action) this.act(action);
        this.update();
    }

    /** @param {number} label to paint with */
    choose(label) {
        this.label = label;
        if (this.tool === 'eraser' || this.tool === 'move') this.tool = 'brush';
    }

    /** @param {string} action */
    act(action) {
        if (action === 'undo') this.step(this.map.undo());
        if (action === 'redo') this.step(this.map.redo());
        if (action === 'clear') {
            this.redraw(this.map.clear());
            if (this.map.commit()) this.edited();
        }
        if (action === 'complete') this.completes = !this.completes;
        if (action === 'hide') this.root.classList.toggle('mask-hidden');
        if (action === 'in') this.view.zoomBy(1.5);
        if (action === 'out') this.view.zoomBy(1 / 1.5);
        if (action === 'fit') this.view.reset();
    }

    /** @param {KeyboardEvent} event */
    press(event) {
        if (event.target instanceof HTMLInputElement || event.altKey) return;
        const key = event.key.toLowerCase(), tool = {b: 'brush', e: 'eraser', x: 'box', f: 'fill', m: 'move'}[key];
        const action = {h: 'hide', c: 'complete', '+': 'in', '-': 'out', 0: 'fit'}[key];
        if (event.ctrlKey || event.metaKey) {
            if (key !== 'z' && key !== 'y') return;
            this.act(key === 'y' || event.shiftKey ? 'redo' : 'undo');
        } else if (tool) this.tool = tool;
        else if (action) this.act(action);
        else if (key >= '1' && key <= '9' && key.length === 1) this.choose(Number(key));
        else if (key === '[' || key === ']') this.size.value = String(Number(this.size.value) + (key === ']' ? 0.05 : -0.05));
        else return;
        event.preventDefault();
        this.update();
    }

    /** @param {PointerEvent} event */
    moveCursor(event) {
        const box = this.surface.getBoundingClientRect(), diameter = 2 * this.radius * this.view.scale;
        this.cursor.hidden = event.pointerType === 'touch' || (this.tool !== 'brush' && this.tool !== 'eraser');
        this.cursor.style.width = this.cursor.style.height = `${diameter}px`;
        this.cursor.style.transform =
            `translate(${event.clientX - box.left - diameter / 2}px, ${event.clientY - box.top - diameter / 2}px)`;
    }

    /** Shows the state of the tools. */
    update() {
        const labels = this.shown?.mask.filter((_, index) => index % 2 === 0) ?? [];
        const last = labels.reduce((one, other) => Math.max(one, other), Math.max(8, this.label));
        for (let label = this.palette.children.length + 1; label <= last; label++) {
            const button = document.createElement('button');
            Object.assign(button, {type: 'button', textContent: String(label), title: this.text('editor.paint_object', {label})});
            button.setAttribute('aria-label', this.text('editor.object_of', {label}));
            button.dataset.label = String(label);
            button.style.setProperty('--color', this.props.colors[label]);
            this.palette.append(button);
        }
        const pressed = [this.tool, String(this.label)];
        if (this.root.classList.contains('mask-hidden')) pressed.push('hide');
        if (this.completes) pressed.push('complete');
        for (const button of this.root.querySelectorAll('button')) {
            const {tool, action, label} = button.dataset;
            if (button.hasAttribute('aria-pressed') || label)
                button.setAttribute('aria-pressed', String(pressed.includes(tool ?? action ?? label ?? '')));
            button.disabled = !this.shown || (action === 'undo' && !this.map.canUndo) || (action === 'redo' && !this.map.canRedo);
        }
        this.root.classList.toggle('completing', this.map.completion !== null);
        this.root.dataset.tool = this.tool;
    }
}

/**
 * @param {HTMLElement} element @param {(event: string) => void} trigger @param {Props} props
 * @param {(name: string, changed: () => void) => void} watch
 */
function mountEditor(element, trigger, props, watch) {
    const editor = new Editor(element, trigger, props);
    watch('value', () => editor.receive(props.value));
    if (props.value) editor.receive(props.value);
}
