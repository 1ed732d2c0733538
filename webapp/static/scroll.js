/** Brings the part of the page that the server names into view, unless the visitor paints, types or scrolls. */

const PARTS = {
    editor: ['#editor', '#editor [data-state=ready]', '#run-bar'],
    preview: ['#run-bar', '#preview'],
    result: ['#result-video'],
    status: ['#run-bar'],
};
const TICK = 150, ATTEMPTS = 30; // [ms]; parts appear some time after the server's message
const STILL_PAINTING = 3000; // [ms] since the last stroke
const MARGIN = 8; // [pixels]

/** @param {string} query of the browser's settings */
const prefers = (query) => matchMedia(`(prefers-${query})`).matches;

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
    const before = interactions;
    let position = scrollY, attempts = 0;
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
        if (interactions !== before || isBusy() || ++attempts > ATTEMPTS) return end();
        if (moves || !boxes.every((box) => box?.height)) return;
        const top = Math.min(...boxes.map((box) => box.top)), bottom = Math.max(...boxes.map((box) => box.bottom));
        const up = top - MARGIN, down = bottom + MARGIN - innerHeight;
        if (up >= 0 && down <= 0) return end();
        const distance = up < 0 ? up : Math.min(up, down);
        if (Math.abs(distance) < 1) return end();
        scrollBy({top: distance, behavior: prefers('reduced-motion: reduce') ? 'instant' : 'smooth'});
    }, TICK);
}

// The result plays at once, but makes no noise.
document.addEventListener('loadedmetadata', (event) => {
    const video = event.target;
    if (!(video instanceof HTMLVideoElement) || !video.closest('#result-video')) return;
    video.muted = true;
    if (video.dataset.still === video.src) return; // a frame was chosen before the video was loaded
    if (!prefers('reduced-motion: reduce')) video.play().catch(() => {}); // the visitor can still start it
}, true);

watch('value', () => props.value?.to && bringIntoView(props.value.to));
