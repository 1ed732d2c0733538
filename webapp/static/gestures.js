/**
 * @typedef {object} Strokes
 * @property {(at: Point) => void} start
 * @property {(to: Point) => void} extend
 * @property {() => void} end
 * @property {() => void} cancel
 * @property {() => boolean} moves  whether a drag moves the frame instead of painting
 */

/**
 * Turns the events of mouse, pen and fingers into strokes, movements and zoom: one finger paints, two move and zoom,
 * as do the middle button, and the wheel with Ctrl. The wheel alone scrolls the page.
 * @param {HTMLElement} surface @param {View} view @param {Strokes} strokes
 * @returns {() => void} ends the stroke in progress
 */
function connectGestures(surface, view, strokes) {
    /** @type {Map<number, PointerEvent>} */
    const pointers = new Map();
    let gesture = '';

    const spread = () => {
        const [one, other] = [...pointers.values()];
        return {
            clientX: (one.clientX + other.clientX) / 2,
            clientY: (one.clientY + other.clientY) / 2,
            distance: Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY) || 1,
        };
    };

    surface.addEventListener('pointerdown', (event) => {
        if (event.pointerType === 'mouse' && event.button > 1) return;
        event.preventDefault();
        surface.focus({preventScroll: true});
        surface.setPointerCapture(event.pointerId);
        pointers.set(event.pointerId, event);
        if (pointers.size === 2 && gesture === 'paint') strokes.cancel();
        if (pointers.size > 1) gesture = 'pinch';
        else if (event.button === 1 || strokes.moves()) gesture = 'move';
        else {
            gesture = 'paint';
            strokes.start(view.locate(event));
        }
    });

    surface.addEventListener('pointermove', (event) => {
        const last = pointers.get(event.pointerId);
        if (!last) return;
        if (gesture === 'paint') {
            const steps = event.getCoalescedEvents?.() ?? [];
            for (const step of steps.length ? steps : [event]) strokes.extend(view.locate(step));
        } else if (gesture === 'move') {
            view.moveBy(event.clientX - last.clientX, event.clientY - last.clientY);
        } else if (pointers.size === 2) {
            const before = spread();
            pointers.set(event.pointerId, event);
            const after = spread();
            view.moveBy(after.clientX - before.clientX, after.clientY - before.clientY);
            view.zoomBy(after.distance / before.distance, after);
        }
        pointers.set(event.pointerId, event);
    });

    const release = (/** @type {PointerEvent} */ event) => {
        if (!pointers.delete(event.pointerId)) return;
        if (gesture === 'paint') strokes.end();
        if (gesture !== 'pinch' || !pointers.size) gesture = '';
    };
    for (const type of /** @type {const} */ (['pointerup', 'pointercancel', 'lostpointercapture']))
        surface.addEventListener(type, release);

    surface.addEventListener(
        'wheel',
        (event) => {
            if (!event.ctrlKey) return;
            event.preventDefault();
            view.zoomBy(Math.exp(-Math.max(-50, Math.min(50, event.deltaY)) / 100), event);
        },
        {passive: false}
    );

    return () => {
        if (gesture !== 'paint') return;
        gesture = 'ended';
        strokes.end();
    };
}
