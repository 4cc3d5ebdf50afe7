/* The page's files as bytes of the program, from the folder that cmake/OctetPage.cmake fills. */
#define PAGE_FILE(name, file)             \
    .globl octet_page_##name##_begin;     \
    octet_page_##name##_begin:            \
    .incbin file;                         \
    .globl octet_page_##name##_end;       \
    octet_page_##name##_end:              \
    .byte 0

    .section .rodata
    PAGE_FILE(html, "index.html.gz")
    PAGE_FILE(js, "page.js.gz")
    PAGE_FILE(css, "page.css.gz")
    PAGE_FILE(icon, "icon.svg.gz")
    PAGE_FILE(ui_font, "ui.woff2.gz")
    PAGE_FILE(text_font, "text.woff2.gz")
    PAGE_FILE(licences, "licences.txt.gz")
    .section .note.GNU-stack,"",%progbits
