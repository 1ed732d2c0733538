/** A pixel of `ImageData` as one number. @param {string} color #rrggbb @param {number} opacity [0, 1] */
function pixelOf(color, opacity) {
    const bytes = [1, 3, 5].map((start) => parseInt(color.slice(start, start + 2), 16));
    return new Uint32Array(new Uint8Array([...bytes, Math.round(opacity * 255)]).buffer)[0];
}

/** Draws a label map: each object in its color, transparent inside and opaque along its edge. */
class MaskCanvas {
    /** @param {HTMLCanvasElement} canvas @param {string[]} colors by label */
    constructor(canvas, colors) {
        this.canvas = canvas;
        this.context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
        this.colors = colors;
        this.edge = 1;
        this.edges = Uint32Array.from(colors, (color, label) => (label ? pixelOf(color, 1) : 0));
        this.insides = this.edges;
        this.opacity = 0.45;
    }

    /** @param {number} opacity [0, 1] of an object's inside */
    set opacity(opacity) {
        this.insides = Uint32Array.from(this.colors, (color, label) => (label ? pixelOf(color, opacity) : 0));
    }

    /** @param {LabelMap} map @param {number} scale screen pixels per pixel of the clip; the edge stays visible */
    show(map, scale) {
        this.canvas.width = map.width;
        this.canvas.height = map.height;
        this.edge = Math.max(1, Math.round(1.5 / scale));
        if (map.width) this.draw(map, map.all);
    }

    /** Draws what has changed. @param {LabelMap} map @param {Rect} rect */
    draw({labels, width, height}, rect) {
        const {edge, edges, insides} = this;
        const left = Math.max(rect.left - edge, 0), right = Math.min(rect.right + edge, width);
        const top = Math.max(rect.top - edge, 0), bottom = Math.min(rect.bottom + edge, height);
        const image = this.context.createImageData(right - left, bottom - top);
        const pixels = new Uint32Array(image.data.buffer);
        for (let y = top, target = 0; y < bottom; y++) {
            const above = Math.max(y - edge, 0) * width, below = Math.min(y + edge, height - 1) * width;
            for (let x = left, row = y * width; x < right; x++, target++) {
                const label = labels[row + x];
                if (!label) continue;
                const inside =
                    labels[above + x] === label &&
                    labels[below + x] === label &&
                    labels[row + Math.max(x - edge, 0)] === label &&
                    labels[row + Math.min(x + edge, width - 1)] === label;
                pixels[target] = inside ? insides[label] : edges[label];
            }
        }
        this.context.putImageData(image, left, top);
    }
}
