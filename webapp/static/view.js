const MAX_ZOOM = 16;

/** Zoom and position of the frame in its view: the frame always fills the view. */
class View {
    /** @param {HTMLElement} view @param {HTMLElement} stage the moved element, as large as the frame */
    constructor(view, stage) {
        this.view = view;
        this.stage = stage;
        this.zoom = 1;
        this.x = 0;
        this.y = 0;
        new ResizeObserver(() => this.apply()).observe(view);
    }

    /** Screen pixels per pixel of the clip. */
    get scale() {
        return (this.view.clientWidth / (this.stage.offsetWidth || 1)) * this.zoom || 1;
    }

    /** @param {number} width @param {number} height of the frame */
    fit(width, height) {
        const sizes = {'--frame-width': width, '--frame-height': height};
        for (const [name, value] of Object.entries(sizes)) this.view.style.setProperty(name, String(value));
        this.reset();
    }

    reset() {
        this.zoom = 1;
        this.apply();
    }

    /** @param {{clientX: number, clientY: number}} at a place in the window @returns {Point} in the frame */
    locate({clientX, clientY}) {
        const box = this.view.getBoundingClientRect();
        return {x: (clientX - box.left - this.x) / this.scale, y: (clientY - box.top - this.y) / this.scale};
    }

    /** Zooms around a place in the window. @param {number} factor @param {{clientX: number, clientY: number}=} at */
    zoomBy(factor, at) {
        const box = this.view.getBoundingClientRect();
        const center = at ?? {clientX: box.left + box.width / 2, clientY: box.top + box.height / 2};
        const {x, y} = this.locate(center);
        this.zoom = Math.min(MAX_ZOOM, Math.max(1, this.zoom * factor));
        this.x = center.clientX - box.left - x * this.scale;
        this.y = center.clientY - box.top - y * this.scale;
        this.apply();
    }

    /** @param {number} dx @param {number} dy [screen pixels] */
    moveBy(dx, dy) {
        this.x += dx;
        this.y += dy;
        this.apply();
    }

    apply() {
        const {clientWidth, clientHeight} = this.view;
        this.x = Math.min(0, Math.max(clientWidth * (1 - this.zoom), this.x));
        this.y = Math.min(0, Math.max(clientHeight * (1 - this.zoom), this.y));
        this.stage.style.transform = `translate(${this.x}px, ${this.y}px) scale(${this.scale})`;
        this.stage.classList.toggle('pixelated', this.scale > 3);
    }
}
