# Catch2 for the tests: the system's (2 or 3), or a pinned release.
find_package(Catch2 QUIET)
if(NOT Catch2_FOUND)
  message(STATUS "Catch2 is not installed: fetching a pinned release")
  include(FetchContent)
  FetchContent_Declare(Catch2
    URL https://github.com/catchorg/Catch2/archive/v2.13.10.tar.gz
    URL_HASH SHA256=d54a712b7b1d7708bc7a819a8e6e47b2fde9536f487b89ccbca295072a7d9943)
  FetchContent_MakeAvailable(Catch2)
endif()
