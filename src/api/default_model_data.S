/* The default model as bytes of the program: the assembler copies a file, a compiler would parse it. */
    .section .rodata
    .balign 64
    .globl octet_default_model_begin
octet_default_model_begin:
    .incbin OCTET_DEFAULT_MODEL_FILE
    .globl octet_default_model_end
octet_default_model_end:
    .byte 0
    .section .note.GNU-stack,"",%progbits
