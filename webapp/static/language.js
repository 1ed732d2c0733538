// The language of the page: its title, and a cookie that tells handlers, since Gradio's settings can change it.

function tellLanguage() {
    const {lang} = document.documentElement;
    if (!lang) return;
    document.title = textOf(TEXTS, 'page.title');
    const anywhere = location.protocol === 'https:' ? 'SameSite=None; Secure; Partitioned' : 'SameSite=Lax'; // also in a frame
    document.cookie = `${LANGUAGE_COOKIE}=${lang}; path=/; ${anywhere}`;
}

tellLanguage();
new MutationObserver(tellLanguage).observe(document.documentElement, {attributeFilter: ['lang']});
