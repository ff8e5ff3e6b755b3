#pragma once
// A handful of operations on one register of floats: the only file of retrieval that knows the instruction set. Everything above
// it is one source for every module.
#include <bit>
#include <cmath>
#include <cstdint>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace twotower::retrieval {

// A tile is kPanelVectors registers of items times kQueryTile queries: as many accumulators as the register file holds beside the
// items and one broadcast (24 of 32 zmm, 12 of 16 ymm, 8 of 16 xmm, where a product without FMA needs a register of its own).
#if defined(__AVX512F__)
inline constexpr int kLanes = 16, kPanelVectors = 3, kQueryTile = 8;
#elif defined(__AVX2__) && defined(__FMA__)
inline constexpr int kLanes = 8, kPanelVectors = 2, kQueryTile = 6;
#else
inline constexpr int kLanes = 4, kPanelVectors = 2, kQueryTile = 4;
#endif

/// Items of a panel. Its lanes fit one 64-bit mask.
inline constexpr int kPanelWidth = kLanes * kPanelVectors;
static_assert(kPanelWidth <= 64);

typedef float Lanes __attribute__((vector_size(kLanes * sizeof(float)), may_alias));

/// `values` is aligned to the register.
inline Lanes load(const float* values) { return *reinterpret_cast<const Lanes*>(values); }
inline void store(float* values, Lanes lanes) { *reinterpret_cast<Lanes*>(values) = lanes; }

inline Lanes broadcast(float value) { return value - Lanes{}; }  // minus 0 changes no value, plus 0 would change -0

inline Lanes larger(Lanes a, Lanes b) { return a > b ? a : b; }

/// a * b + sum with one rounding where the machine has FMA, with two elsewhere; the overload for registers does the same in each
/// lane.
inline float multiply_add(float a, float b, float sum) {
#if defined(__FP_FAST_FMAF)
  return std::fma(a, b, sum);
#else
  return a * b + sum;
#endif
}

inline Lanes multiply_add(Lanes a, Lanes b, Lanes sum) {
#if defined(__AVX512F__)
  return _mm512_fmadd_ps(a, b, sum);
#elif defined(__AVX2__) && defined(__FMA__)
  return _mm256_fmadd_ps(a, b, sum);
#elif defined(__FP_FAST_FMAF)
  for (int lane = 0; lane < kLanes; ++lane) sum[lane] = multiply_add(a[lane], b[lane], sum[lane]);
  return sum;
#else
  return a * b + sum;
#endif
}

/// Bit i tells whether a[i] > b[i].
inline std::uint64_t lanes_above(Lanes a, Lanes b) {
#if defined(__AVX512F__)
  return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ);
#elif defined(__AVX2__) && defined(__FMA__)
  return static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_GT_OQ)));
#elif defined(__SSE2__)
  return static_cast<unsigned>(_mm_movemask_ps(_mm_cmpgt_ps(a, b)));
#else
  std::uint64_t mask = 0;
  for (int lane = 0; lane < kLanes; ++lane) mask |= std::uint64_t{a[lane] > b[lane]} << lane;
  return mask;
#endif
}

typedef std::int32_t IntLanes __attribute__((vector_size(kLanes * sizeof(float)), may_alias));

/// A whole number that orders as the score does, -0 as 0; NaN has no place.
inline std::int32_t ordered_score(float score) {
  const auto bits = std::bit_cast<std::int32_t>(score + 0.0f);  // -0 + 0 is 0
  return bits ^ (bits >> 31 & 0x7fffffff);
}

inline float score_of_ordered(std::int32_t ordered) { return std::bit_cast<float>(ordered ^ (ordered >> 31 & 0x7fffffff)); }

/// ordered_score in each lane.
inline IntLanes ordered_lanes(Lanes scores) {
  const auto bits = reinterpret_cast<IntLanes>(scores + Lanes{});
  return bits ^ (bits >> 31 & 0x7fffffff);
}

/// Whether compress takes all lanes in one step.
#if defined(__AVX512F__)
inline constexpr bool kCompresses = true;
#else
inline constexpr bool kCompresses = false;
#endif

/// Writes the lanes of `values` whose bit is set side by side to `out`; what stands in the rest of the register's length there is
/// undefined.
inline void compress(IntLanes values, std::uint64_t mask, std::int32_t* out) {
#if defined(__AVX512F__)
  // In the register, then a whole store: the instruction that compresses straight to memory is microcode on Zen 4.
  _mm512_storeu_si512(out, _mm512_maskz_compress_epi32(static_cast<__mmask16>(mask), reinterpret_cast<__m512i>(values)));
#else
  alignas(IntLanes) std::int32_t lanes[kLanes];
  *reinterpret_cast<IntLanes*>(lanes) = values;
  for (; mask != 0; mask &= mask - 1) *out++ = lanes[std::countr_zero(mask)];
#endif
}

/// first, first + 1, ...
inline IntLanes ascending_from(std::int32_t first) {
  IntLanes lanes;
  for (int lane = 0; lane < kLanes; ++lane) lanes[lane] = first + lane;
  return lanes;
}

}  // namespace twotower::retrieval
