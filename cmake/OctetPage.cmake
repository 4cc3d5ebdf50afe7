# The chat page inside the program: web/ is built by npm and Vite, compressed, and put into octet_server by the
# assembler. Without Node or its packages the files are empty, and the server says so at "/".
if(OCTET_SANITIZE)
  set(page_default OFF)
else()
  set(page_default ON)
endif()
option(OCTET_BUILD_PAGE "Build the chat page where Node.js and npm are there" ${page_default})
find_program(OCTET_NODE node)
find_program(OCTET_NPM npm)

set(page_folder ${CMAKE_BINARY_DIR}/page)
set(page_files "")
foreach(file index.html page.js page.css icon.svg ui.woff2 text.woff2 licences.txt)
  list(APPEND page_files ${page_folder}/${file}.gz)
endforeach()

if(OCTET_BUILD_PAGE AND OCTET_NODE AND OCTET_NPM)
  # What could not be built the last time is tried again after each run of cmake.
  foreach(file ${page_files})
    if(EXISTS ${file})
      file(SIZE ${file} size)
      if(size EQUAL 0)
        file(REMOVE ${file})
      endif()
    endif()
  endforeach()
  file(GLOB_RECURSE page_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/web/src/* ${CMAKE_SOURCE_DIR}/web/public/*)
  foreach(file index.html package.json package-lock.json tsconfig.json vite.config.ts pack.mjs)
    list(APPEND page_sources ${CMAKE_SOURCE_DIR}/web/${file})
  endforeach()
  add_custom_command(
    OUTPUT ${page_files}
    COMMAND ${CMAKE_COMMAND} -DNODE=${OCTET_NODE} -DNPM=${OCTET_NPM} -DWEB=${CMAKE_SOURCE_DIR}/web -DOUT=${page_folder}
            -P ${CMAKE_SOURCE_DIR}/cmake/BuildPage.cmake
    DEPENDS ${page_sources} ${CMAKE_SOURCE_DIR}/cmake/BuildPage.cmake
    COMMENT "Building the chat page" VERBATIM)
  add_custom_target(octet_page DEPENDS ${page_files})
  add_dependencies(octet_server octet_page)
else()
  foreach(file ${page_files})
    file(WRITE ${file} "")
  endforeach()
endif()

target_sources(octet_server PRIVATE ${CMAKE_SOURCE_DIR}/src/server/page_data.S)
set_source_files_properties(${CMAKE_SOURCE_DIR}/src/server/page_data.S PROPERTIES
  OBJECT_DEPENDS "${page_files}"
  COMPILE_OPTIONS "-Wa,-I${page_folder}")
