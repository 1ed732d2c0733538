/** @typedef {Record<string, Record<string, string>>} Texts  by language and key */

/**
 * A text in the language of the page, with values in the place of its {placeholders}.
 * @param {Texts} texts @param {string} key @param {Record<string, any>} [values]
 */
function textOf(texts, key, values = {}) {
    const table = texts[document.documentElement.lang.slice(0, 2)] ?? texts.en;
    return table[key].replace(/\{(\w+)\}/g, (_, name) => values[name]);
}
