#pragma once
// Catch2, whichever of versions 2 and 3 the system has. No test includes it by itself.
#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;
#else
#include <catch2/catch.hpp>
#endif
