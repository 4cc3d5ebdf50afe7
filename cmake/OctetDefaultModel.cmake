# The model inside the program: the bytes of a GGUF file, put into octet_api by the assembler (.incbin), which
# takes no time and no compiler memory whatever the size.
set(OCTET_DEFAULT_MODEL ${CMAKE_SOURCE_DIR}/models/Llama-Octet-8x2M-instruct.gguf CACHE FILEPATH
    "GGUF file that is embedded as the default model")
enable_language(ASM)
get_filename_component(OCTET_DEFAULT_MODEL_NAME ${OCTET_DEFAULT_MODEL} NAME_WE)
target_sources(octet_api PRIVATE ${CMAKE_SOURCE_DIR}/src/api/default_model_data.S)
set_source_files_properties(${CMAKE_SOURCE_DIR}/src/api/default_model_data.S PROPERTIES
  OBJECT_DEPENDS ${OCTET_DEFAULT_MODEL}
  COMPILE_DEFINITIONS "OCTET_DEFAULT_MODEL_FILE=\"${OCTET_DEFAULT_MODEL}\"")
target_compile_definitions(octet_api PRIVATE OCTET_DEFAULT_MODEL_NAME="${OCTET_DEFAULT_MODEL_NAME}")
