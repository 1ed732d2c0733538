/** Brings the part of the page that the server names into view, unless the visitor paints, types or scrolls. */

const PARTS = {
    editor: ['#editor', '#editor [data-state=ready]', '#run-bar'],
    preview: ['#run-bar', '#preview'],
    result: ['#result-video'],
    status: ['#run-bar'],
};
const TICK = 150, PATIENCE = 20_000; // [ms]; parts appear some time after the server's message
const ATTEMPTS = 10; // of scrolling, which ends where the page ends
const SMOOTH_ATTEMPTS = 3; // of them; the others scroll at once
const RESTART = 600; // [ms] between two: each begins the motion anew, and a busy machine draws few frames
const STILL_PAINTING = 3000; // [ms] since the last stroke
const MARGIN = 8; // [pixels]

let lastStroke = -STILL_PAINTING, interactions = 0, timer = 0;
for (const kind of ['pointerdown', 'wheel', 'touchstart', 'keydown'])
    document.addEventListener(kind, (event) => {
        interactions++;
        const paints = event.target instanceof Element && event.target.closest('#editor');
        lastStroke = paints ? performance.now() : -STILL_PAINTING;
    }, {capture: true, passive: true});

function isBusy() {
    const field = document.activeElement;
    const types = field instanceof HTMLTextAreaElement || (field instanceof HTMLInputElement && field.type === 'text');
    return types || performance.now() - lastStroke < STILL_PAINTING;
}

/** @param {keyof PARTS} name */
function bringIntoView(name) {
    const before = interactions, deadline = performance.now() + PATIENCE;
    let position = scrollY, attempts = 0, restart = 0;
    const end = () => {
        clearInterval(timer);
        delete document.body.dataset.scrolling;
    };
    end(); // with an earlier message
    document.body.dataset.scrolling = name;
    timer = setInterval(() => {
        const boxes = PARTS[name].map((part) => document.querySelector(part)?.getBoundingClientRect());
        const moves = scrollY !== position;
        position = scrollY;
        if (interactions !== before || isBusy() || performance.now() > deadline) return end();
        if (moves || performance.now() < restart || !boxes.every((box) => box?.height)) return;
        const top = Math.min(...boxes.map((box) => box.top)), bottom = Math.max(...boxes.map((box) => box.bottom));
        const up = top - MARGIN, down = bottom + MARGIN - innerHeight;
        if (up >= 0 && down <= 0) return end();
        const distance = up < 0 ? up : Math.min(up, down);
        if (Math.abs(distance) < 1 || ++attempts > ATTEMPTS) return end();
        restart = performance.now() + RESTART;
        const still = attempts > SMOOTH_ATTEMPTS || matchMedia('(prefers-reduced-motion: reduce)').matches;
        scrollBy({top: distance, behavior: still ? 'instant' : 'smooth'});
    }, TICK);
}

watch('value', () => props.value?.to && bringIntoView(props.value.to));
