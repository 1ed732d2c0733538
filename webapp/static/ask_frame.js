// Asks the server for a frame of the result. It is a value and not the data of an event: of several requests during
// another one, Gradio sends the first data, but the last value.

document.addEventListener('frame-wanted', (event) => {
    props.value = /** @type {CustomEvent} */ (event).detail;
    trigger('input');
});
