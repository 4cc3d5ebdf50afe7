# cmake -DNODE= -DNPM= -DWEB= -DOUT= -P BuildPage.cmake: the page from WEB into OUT, as NAME.gz. When packages cannot
# be had (no network) the files are empty, which is not an error.
file(MAKE_DIRECTORY ${OUT})
# Build folders share web/node_modules.
file(LOCK ${WEB}/.npm.lock GUARD PROCESS TIMEOUT 400)

function(give_up why)
  string(SUBSTRING "${why}" 0 800 why)
  message(WARNING "The chat page is left out: ${why}")
  foreach(file index.html page.js page.css icon.svg ui.woff2 text.woff2 licences.txt)
    file(WRITE ${OUT}/${file}.gz "")
  endforeach()
endfunction()

set(installed ${WEB}/node_modules/.package-lock.json)
if(NOT EXISTS ${installed} OR ${WEB}/package-lock.json IS_NEWER_THAN ${installed})
  execute_process(
    COMMAND ${NPM} ci --no-audit --no-fund --loglevel=error --fetch-retries=1 --fetch-timeout=30000
    WORKING_DIRECTORY ${WEB} TIMEOUT 180 RESULT_VARIABLE failed OUTPUT_VARIABLE out ERROR_VARIABLE out)
  if(failed)
    give_up("npm ci in web/ failed (${failed})\n${out}")
    return()
  endif()
  file(TOUCH ${installed})
endif()
foreach(step "node_modules/vite/bin/vite.js;build;--outDir;${OUT}/files;--emptyOutDir;--logLevel;warn"
             "pack.mjs;${OUT}/files;${OUT}")
  execute_process(COMMAND ${NODE} ${step} WORKING_DIRECTORY ${WEB} TIMEOUT 180
                  RESULT_VARIABLE failed OUTPUT_VARIABLE out ERROR_VARIABLE out)
  if(failed)
    give_up("${step} failed (${failed})\n${out}")
    return()
  endif()
endforeach()
