// A clip that the browser cannot play, such as many AVIs: its first frame and a sentence in the place of Gradio's error.

const STILL_ATTEMPTS = 100; // every 200 ms: the server reads the clip meanwhile

/** @param {Event} event @returns {HTMLVideoElement | null} */
const clipIn = (event) => event.target instanceof HTMLVideoElement && event.target.closest('#clip') ? event.target : null;

const frameInEditor = () =>
    /** @type {HTMLImageElement?} */ (document.querySelector('#editor [data-state=ready] .editor-stage img'))?.src;

let frameBefore = frameInEditor(); // of the clip before

/** @param {HTMLVideoElement} video @param {number} attempts */
function showStill(video, attempts) {
    const block = video.closest('#clip'), frame = frameInEditor();
    if (!block || !video.error) return;
    if (frame && frame !== frameBefore) {
        video.poster = frame;
        block.dataset.note = textOf(TEXTS, 'clip.not_playable');
    } else if (attempts) setTimeout(showStill, 200, video, attempts - 1);
}

document.addEventListener('error', (event) => {
    const video = clipIn(event);
    if (!video) return;
    event.stopImmediatePropagation();
    showStill(video, STILL_ATTEMPTS);
}, true);

document.addEventListener('loadstart', (event) => {
    const video = clipIn(event);
    if (!video) return;
    frameBefore = frameInEditor();
    video.removeAttribute('poster');
    delete video.closest('#clip').dataset.note;
}, true);
