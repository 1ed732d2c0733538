// Gradio's box takes only what the browser calls a video, and so refuses GIF, WebP, TIFF or MXF. Here the server decides.

const CLIP_INPUT = '#clip input[type=file]', CLEAR_CLIP = '#clip .icon-button-wrapper button:last-of-type';
const BOX_ATTEMPTS = 300; // every 100 ms

/** @param {Iterable<File>} files @returns {DataTransfer} the same files, called videos */
function asVideos(files) {
    const videos = new DataTransfer();
    for (const file of files) videos.items.add(new File([file], file.name, {type: 'video/mp4'}));
    return videos;
}

document.addEventListener('click', (event) => { // before the browser asks for a file
    const input = /** @type {HTMLInputElement?} */ (document.querySelector(CLIP_INPUT));
    if (input && event.target instanceof Element && event.target.closest('#clip')) input.accept = CLIP_KINDS;
}, true);

document.addEventListener('change', (event) => {
    const input = event.target;
    if (input instanceof HTMLInputElement && input.matches(CLIP_INPUT) && input.files) input.files = asVideos(input.files).files;
}, true);

/** @returns {HTMLElement | null | undefined} the box that takes files; there is none while it shows a clip */
const uploadBox = () => document.querySelector(CLIP_INPUT)?.closest('button');

/** @param {Iterable<File>} files @param {number} attempts */
function dropWhereFilesAreTaken(files, attempts) {
    // Until the clip before is closed, the server does not know which masks can be brought back.
    const box = uploadBox(), isClosed = document.querySelector('#editor [data-state=empty]');
    if (box && isClosed) box.dispatchEvent(new DragEvent('drop', {bubbles: true, cancelable: true, dataTransfer: asVideos(files)}));
    else if (attempts) setTimeout(dropWhereFilesAreTaken, 100, files, attempts - 1);
}

document.addEventListener('drop', (event) => {
    const {target, dataTransfer} = event, files = [...dataTransfer?.files ?? []], box = uploadBox();
    if (!files.length || !(target instanceof Element) || !target.closest('#clip')) return;
    if (box?.contains(target) && files.every((file) => file.type.startsWith('video/'))) return;
    if ([...dataTransfer.items].some((item) => item.webkitGetAsEntry?.()?.isDirectory)) return; // Gradio refuses folders
    const clear = /** @type {HTMLElement?} */ (document.querySelector(CLEAR_CLIP));
    if (!box && !clear) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (!box) clear.click();
    dropWhereFilesAreTaken(files, BOX_ATTEMPTS);
}, true);

for (const kind of ['dragover', 'drop']) { // beside a box, the browser would leave the page and open the file
    document.addEventListener(kind, (event) => {
        if (event.dataTransfer?.types.includes('Files')) event.preventDefault();
    });
}
