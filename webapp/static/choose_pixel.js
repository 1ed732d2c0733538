// The choice of a pixel in a frame of the result: by a click, a tap or the arrow keys and Enter.

/** @param {HTMLElement} frame @param {number} x @param {number} y @param {boolean} ask */
function choosePixel(frame, x, y, ask) {
    const data = frame.dataset, width = Number(data.width), height = Number(data.height);
    x = Math.min(width - 1, Math.max(0, Math.floor(x)));
    y = Math.min(height - 1, Math.max(0, Math.floor(y)));
    Object.assign(data, {x, y});
    const cross = frame.querySelector('.why-cross');
    cross.style.display = '';
    cross.setAttribute('transform', `translate(${x + 0.5} ${y + 0.5})`);
    if (!ask) return;
    const words = element.querySelector('.why-words');
    words.innerHTML = '<h4></h4><p></p>';
    words.firstChild.textContent = textOf(TEXTS, 'why.frame', {frame: data.frameShown});
    words.lastChild.textContent = textOf(TEXTS, 'why.reading');
    element.querySelector('.why').setAttribute('aria-busy', 'true');
    trigger('select', {frame: Number(data.frameShown), x, y});
}

// Who comes near the frame will choose a place: the server reads the memory meanwhile.
let prepared = null;
for (const kind of ['pointerover', 'focusin'])
    element.addEventListener(kind, (event) => {
        const frame = event.target.closest('.why-frame');
        if (!frame || frame === prepared) return;
        prepared = frame;
        trigger('load');
    });

element.addEventListener('click', (event) => {
    const frame = event.target.closest('.why-frame');
    if (!frame) return;
    const box = frame.querySelector('svg').getBoundingClientRect(), data = frame.dataset;
    choosePixel(
        frame, (event.clientX - box.left) / box.width * data.width, (event.clientY - box.top) / box.height * data.height, true
    );
});

element.addEventListener('keydown', (event) => {
    const frame = event.target.closest('.why-frame');
    if (!frame) return;
    const steps = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1]}, step = steps[event.key];
    const {x, y, width} = frame.dataset, length = event.shiftKey ? 1 : Math.max(1, Math.round(width / 100));
    if (step) choosePixel(frame, Number(x) + length * step[0], Number(y) + length * step[1], false);
    else if (event.key === 'Enter' || event.key === ' ') choosePixel(frame, Number(x), Number(y), true);
    else return;
    event.preventDefault();
});
