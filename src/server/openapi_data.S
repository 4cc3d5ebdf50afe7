/* openapi.json as bytes of the program. */
    .section .rodata
    .globl octet_openapi_begin
octet_openapi_begin:
    .incbin "openapi.json"
    .globl octet_openapi_end
octet_openapi_end:
    .byte 0
    .section .note.GNU-stack,"",%progbits
