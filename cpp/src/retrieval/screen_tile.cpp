#include "twotower/retrieval/screen_tile.hpp"

#include <array>
#include <utility>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "twotower/base/cpu.hpp"

namespace twotower::retrieval {
namespace {

using Tiles = std::array<ScreenTile, kScreenTile>;

template <int kQueries>
bool portable_tile(const std::int32_t* panel, const std::int32_t* queries, Index words, const std::int32_t* starts,
                   std::uint64_t* masks) {
  const auto* items = reinterpret_cast<const std::uint8_t*>(panel);
  const auto* codes = reinterpret_cast<const std::int8_t*>(queries);
  bool any = false;
  for (int q = 0; q < kQueries; ++q) {
    masks[q] = 0;
    for (int i = 0; i < kScreenWidth; ++i) {
      std::int32_t sum = starts[q];
      for (Index w = 0; w < words; ++w)
        for (int c = 0; c < kWordCodes; ++c)
          sum += items[(w * kScreenWidth + i) * kWordCodes + c] * codes[(w * kScreenTile + q) * kWordCodes + c];
      if (sum >= 0) masks[q] |= std::uint64_t{1} << i;
    }
    any |= masks[q] != 0;
  }
  return any;
}

template <int... kQueries>
constexpr Tiles portable_tiles(std::integer_sequence<int, kQueries...>) {
  return {portable_tile<kQueries + 1>...};
}

#if defined(__AVX512F__)

// sum += four products in each lane, into 32 bits without saturation; items are unsigned, the query is signed. VNNI is no part of
// x86-64-v4, so this is not for every CPU of the module. As an intrinsic, GCC 12 copies and spills accumulators (measured).
inline void add_products(__m512i& sum, __m512i items, __m512i query) {
  asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(items), "v"(query));
}

template <int kQueries>
bool vnni_tile(const std::int32_t* panel, const std::int32_t* queries, Index words, const std::int32_t* starts,
               std::uint64_t* masks) {
  constexpr int kVectors = kScreenWidth / 16;
  __m512i sums[kQueries][kVectors];
#pragma GCC unroll 8
  for (int q = 0; q < kQueries; ++q)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) sums[q][v] = _mm512_set1_epi32(starts[q]);
  for (Index w = 0; w < words; ++w, panel += kScreenWidth, queries += kScreenTile) {
    __m512i items[kVectors];
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) items[v] = _mm512_load_si512(panel + v * 16);
#pragma GCC unroll 8
    for (int q = 0; q < kQueries; ++q) {
      const __m512i query = _mm512_set1_epi32(queries[q]);
#pragma GCC unroll 4
      for (int v = 0; v < kVectors; ++v) add_products(sums[q][v], items[v], query);
    }
  }
  // Signs alone matter, and most tiles have none but negative sums.
  __m512i all = sums[0][0];
#pragma GCC unroll 8
  for (int q = 0; q < kQueries; ++q)
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) all = _mm512_and_si512(all, sums[q][v]);
  if (_mm512_movepi32_mask(all) == 0xffff) [[likely]]
    return false;
#pragma GCC unroll 8
  for (int q = 0; q < kQueries; ++q) {
    std::uint64_t negative = 0;
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) negative |= std::uint64_t{_mm512_movepi32_mask(sums[q][v])} << (v * 16);
    masks[q] = ~negative & (~std::uint64_t{0} >> (64 - kScreenWidth));
  }
  return true;
}

template <int... kQueries>
constexpr Tiles vnni_tiles(std::integer_sequence<int, kQueries...>) {
  return {vnni_tile<kQueries + 1>...};
}

#endif

}  // namespace

ScreenTile portable_screen_tile(Index count) {
  static constexpr Tiles tiles = portable_tiles(std::make_integer_sequence<int, kScreenTile>());
  return tiles[static_cast<std::size_t>(count - 1)];
}

#if defined(__AVX512F__)

ScreenTile screen_tile(Index count) {
  static constexpr Tiles tiles = vnni_tiles(std::make_integer_sequence<int, kScreenTile>());
  return has_screen() ? tiles[static_cast<std::size_t>(count - 1)] : portable_screen_tile(count);
}

bool has_screen() { return cpu_has_vnni(); }

#else

ScreenTile screen_tile(Index count) { return portable_screen_tile(count); }

bool has_screen() { return false; }

#endif

}  // namespace twotower::retrieval
