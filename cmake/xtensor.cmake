# xtensor headers: the system's, or a pinned release.
add_library(twotower_xtensor INTERFACE)
find_package(xtensor 0.24 QUIET)
if(xtensor_FOUND)
  message(STATUS "xtensor ${xtensor_VERSION} of the system")
  target_link_libraries(twotower_xtensor INTERFACE xtensor)
else()
  message(STATUS "xtensor is not installed: fetching a pinned release")
  include(FetchContent)
  FetchContent_Declare(xtl
    URL https://github.com/xtensor-stack/xtl/archive/0.7.2.tar.gz
    URL_HASH SHA256=95c221bdc6eaba592878090916383e5b9390a076828552256693d5d97f78357c)
  FetchContent_Declare(xtensor
    URL https://github.com/xtensor-stack/xtensor/archive/0.24.6.tar.gz
    URL_HASH SHA256=f87259b51aabafdd1183947747edfff4cff75d55375334f2e81cee6dc68ef655)
  FetchContent_MakeAvailable(xtl xtensor)
  target_include_directories(twotower_xtensor SYSTEM INTERFACE ${xtl_SOURCE_DIR}/include ${xtensor_SOURCE_DIR}/include)
endif()
