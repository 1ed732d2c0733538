// The result's video, its frame slider, the comparison and the chart show the same frame, also while the video plays.

const COMMIT_DELAY = 200; // [ms] after which a frame that stays is asked for
const FOLLOW_INTERVAL = 200; // [ms] between the frames that are asked for while the video plays, at least
const pageOf = element.closest('.gradio-container') || document;
/**
 * @type {{frame: number, sent: number, timer: number, followed: number, sought: HTMLVideoElement | null,
 *     chosen: string | null, own: Event | null}} sought: video that does not show the frame yet that it was sought to;
 *     chosen: address of the video in which someone chose a frame, '' if it had none yet; own: the event of the slider that
 *     this script sent
 */
const state = {frame: -1, sent: -1, timer: 0, followed: 0, sought: null, chosen: null, own: null};

const videoOf = () => /** @type {HTMLVideoElement | null} */ (pageOf.querySelector('#result-video video'));
const inputsOf = () => /** @type {HTMLInputElement[]} */ ([...pageOf.querySelectorAll('#result-frame input')]);
const rangeOf = () => inputsOf().find((input) => input.type === 'range');

/** @returns {number[]} the display time of each frame [s] */
function frameTimes() {
    const chart = /** @type {HTMLElement | null} */ (element.querySelector('.chart'));
    if (!chart) return [];
    if (chart !== frameTimes.chart) {
        frameTimes.chart = chart;
        frameTimes.known = chart.dataset.times.split(' ').map(Number);
    }
    return frameTimes.known;
}
frameTimes.chart = null;
frameTimes.known = [];

/** The frame that is shown from a time on: the one whose display time is nearest. @param {number} time [s] */
function frameAt(time) {
    const times = frameTimes();
    let low = 0, high = times.length - 1;
    while (low < high) {
        const middle = (low + high) >> 1;
        if ((times[middle] + times[middle + 1]) / 2 < time) low = middle + 1;
        else high = middle;
    }
    return low;
}

/** Moves the cursor of the chart. @param {number} frame */
function moveCursor(frame) {
    state.frame = frame;
    const chart = /** @type {HTMLElement | null} */ (element.querySelector('.chart'));
    if (!chart) return;
    chart.style.setProperty('--cursor', `${100 * frame / Number(chart.dataset.last)}%`);
    chart.dataset.frame = String(frame);
    chart.querySelector('.plot-now').textContent = textOf(TEXTS, 'chart.frame', {frame});
}

/** Shows a number in the slider; Gradio keeps its own value. @param {number} frame */
function moveSlider(frame) {
    for (const input of inputsOf()) {
        if (input === document.activeElement && input.type === 'number') continue; // someone types in it
        input.value = String(frame);
        if (input.type === 'range') {
            const {min, max} = input;
            input.style.setProperty('--range_progress', `${100 * (frame - Number(min)) / (Number(max) - Number(min))}%`);
        }
    }
}

/** Someone chooses a frame: the video pauses, and does not start once it is loaded. */
function hold() {
    const video = videoOf();
    state.chosen = video?.src ?? '';
    video?.pause();
}

/** A time within a frame [s], as browsers round times. @param {number} frame */
function timeWithin(frame) {
    const times = frameTimes(), following = frame + 1 < times.length ? times[frame + 1] : times[frame] + 0.02;
    return times[frame] + Math.min(0.005, (following - times[frame]) / 2);
}

/** Shows a frame in the video. @param {number} frame */
function seek(frame) {
    hold();
    const video = videoOf(), times = frameTimes();
    if (!video || !times.length || frame >= times.length) return;
    state.sought = video;
    video.currentTime = timeWithin(frame);
}

/** Gradio takes the frame that is shown as the slider's value. */
function setSlider() {
    const range = rangeOf();
    if (!range || state.frame < 0) return;
    range.value = String(state.frame);
    state.own = new Event('input', {bubbles: true});
    range.dispatchEvent(state.own);
}

/**
 * Asks for the comparison of the frame that is shown, see ask_frame.js: all requests take this one way, so that the last
 * one is answered last.
 * @param {boolean} playing  whether others will follow: the rest of the page stays as it is
 */
function ask(playing) {
    state.sent = playing ? -1 : state.frame;
    if (!playing) setSlider();
    document.dispatchEvent(new CustomEvent('frame-wanted', {detail: {frame: state.frame, playing}}));
}

/** Asks once the frame stays. */
function commit() {
    clearTimeout(state.timer);
    state.timer = window.setTimeout(() => {
        const video = videoOf();
        if (state.frame !== state.sent && (!video || video.paused)) ask(false);
    }, COMMIT_DELAY);
}

/** Asks while the video plays, if someone can see the answer. */
function followPlaying() {
    const box = pageOf.querySelector('#comparison')?.getBoundingClientRect(), now = performance.now();
    if (document.hidden || !box?.height || box.bottom < 0 || box.top > innerHeight) return;
    if (now - state.followed < FOLLOW_INTERVAL) return;
    state.followed = now;
    ask(true);
}

/** Selects a frame. @param {number} frame */
function choose(frame) {
    moveCursor(frame);
    moveSlider(frame);
    seek(frame);
    ask(false);
}

/** The video shows another picture. @param {HTMLVideoElement} video @param {number} time of the picture [s] */
function pictureShown(video, time) {
    if (video !== videoOf() || !frameTimes().length) return;
    const frame = frameAt(time);
    if (state.sought === video && video.paused) { // a busy browser still reports pictures from before the frame was chosen
        if (frame === state.frame) state.sought = null;
        return;
    }
    state.sought = null;
    if (frame !== state.frame) {
        moveCursor(frame);
        moveSlider(frame);
        if (!video.paused) followPlaying();
    }
    if (video.paused) commit();
}

/** Shows the frame of the slider, which someone chose before the video or the chart was there. */
function showChosen() {
    const range = rangeOf();
    if (!range) return;
    moveCursor(Number(range.value));
    seek(state.frame);
}

/** Skips the frames that are as in the run before. @param {HTMLVideoElement} video */
function skipReused(video) {
    const chart = /** @type {HTMLElement | null} */ (element.querySelector('.chart'));
    const first = Number(chart?.dataset.first);
    if (first > 0 && timeWithin(first) > video.currentTime) video.currentTime = timeWithin(first);
}

/**
 * A loaded video starts at once, without noise, or shows the frame that was chosen.
 * @param {HTMLVideoElement} video
 */
function start(video) {
    video.muted = true;
    if (state.chosen === '' || state.chosen === video.src) showChosen();
    else if (!matchMedia('(prefers-reduced-motion: reduce)').matches) {
        skipReused(video);
        video.play().catch(() => {}); // the visitor can still start it
    }
}

/** Follows the pictures of a video. @param {HTMLVideoElement} video */
function follow(video) {
    if (follow.videos.has(video)) return;
    follow.videos.add(video);
    if (!video.requestVideoFrameCallback) {
        for (const name of ['timeupdate', 'seeked'])
            video.addEventListener(name, () => pictureShown(video, video.currentTime));
        return;
    }
    /** @param {number} _ @param {{mediaTime: number}} picture */
    const next = (_, {mediaTime}) => {
        if (!video.isConnected || !element.isConnected) return;
        if (follow.begun.has(video) || !video.paused) pictureShown(video, mediaTime);
        video.requestVideoFrameCallback(next);
    };
    video.requestVideoFrameCallback(next);
}
follow.videos = new WeakSet();
follow.begun = new WeakSet(); // played or sought by the visitor: the first picture of a new video is no choice

new MutationObserver(() => { // a new chart has no cursor yet
    const chart = /** @type {HTMLElement | null} */ (element.querySelector('.chart'));
    if (!chart || chart.dataset.frame !== undefined) return;
    if (state.frame >= 0) moveCursor(state.frame);
    const video = videoOf();
    if (!video?.readyState) return;
    // The video was loaded before the chart.
    if (video.src === state.chosen) showChosen();
    else if (!video.paused && video.currentTime < 1) skipReused(video);
}).observe(element, {childList: true, subtree: true});

const listening = new AbortController(), {signal} = listening;
window.mampPlayback?.abort(); // an earlier mount of this component
window.mampPlayback = listening;

/** @param {string} name @param {(video: HTMLVideoElement) => void} handler */
const onVideo = (name, handler) => pageOf.addEventListener(name, (event) => {
    if (event.target === videoOf()) handler(/** @type {HTMLVideoElement} */ (event.target));
}, {capture: true, signal});

onVideo('loadedmetadata', start);
onVideo('loadeddata', (video) => {
    follow(video);
    const range = rangeOf();
    if (!range || !frameTimes().length) return;
    state.sent = Number(range.value);
    moveCursor(state.sent);
});
for (const name of ['play', 'seeking']) onVideo(name, (video) => { follow(video); follow.begun.add(video); });
onVideo('pause', commit);
onVideo('seeking', (video) => { // by the visitor
    if (frameAt(video.currentTime) !== state.frame) state.sought = null;
});

// Someone is about to choose a frame.
pageOf.addEventListener('focusin', (event) => {
    if (event.target.closest?.('#result-frame')) hold();
}, {capture: true, signal});

// Someone does something with the frame that is shown: while the video plays, Gradio has the one that was chosen last.
pageOf.addEventListener('click', (event) => {
    // On a narrow page, the tab is in a menu, where it has no name.
    const control = event.target.closest?.('#correct-frame, #why-button, .overflow-dropdown button');
    if (control && state.frame >= 0 && videoOf()?.paused === false) choose(state.frame);
}, {capture: true, signal});

pageOf.addEventListener('focusout', (event) => { // Gradio takes an emptied number as 0
    if (event.target.closest?.('#result-frame')) setTimeout(setSlider);
}, {capture: true, signal});

pageOf.addEventListener('input', (event) => {
    const input = /** @type {HTMLInputElement} */ (event.target);
    if (event === state.own || !input.closest?.('#result-frame') || input.value === '') return;
    choose(Math.min(Number(input.max), Math.max(0, Math.round(Number(input.value)))));
}, {capture: true, signal});

element.addEventListener('click', (event) => {
    const named = event.target.closest('[data-frame]:not(.chart)'), plot = event.target.closest('.plot');
    if (named) choose(Number(named.dataset.frame));
    else if (plot) {
        const box = plot.querySelector('svg').getBoundingClientRect(), {last} = plot.closest('.chart').dataset;
        choose(Math.round(Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * Number(last)));
    }
});

const loaded = videoOf();
if (loaded?.readyState) start(loaded); // before this component was mounted
