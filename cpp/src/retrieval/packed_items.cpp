#include "twotower/retrieval/packed_items.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "twotower/base/check.hpp"

namespace twotower::retrieval {
namespace {

constexpr Index kRowBlock = 1024, kPanelBlock = 32;
constexpr std::uint32_t kInfinity = 0x7f800000;

// Magnitudes order as their bits do, and what is not finite lies at the upper end: one integer maximum finds both.
std::uint32_t largest_bits(const float* values, Index count) {
  std::uint32_t largest = 0;
  for (Index k = 0; k < count; ++k) largest = std::max(largest, std::bit_cast<std::uint32_t>(values[k]) & 0x7fffffffu);
  return largest;
}

[[noreturn]] void fail_at(std::string_view function, std::string_view name, ConstRows<float> vectors) {
  Index row = 0, column = 0;
  while (largest_bits(vectors.row(row).data(), vectors.cols()) < kInfinity) ++row;
  while (std::isfinite(vectors(row, column))) ++column;
  const float value = vectors(row, column);
  fail(function, std::string(name) + "[" + std::to_string(row) + ", " + std::to_string(column) + "] is " +
                     (std::isnan(value) ? "nan"
                      : value > 0       ? "inf"
                                        : "-inf") +
                     ", but must be a finite number");
}

}  // namespace

AlignedFloats aligned_floats(Index count) {
  const std::size_t bytes = static_cast<std::size_t>(count) * sizeof(float);
  return AlignedFloats(static_cast<float*>(::operator new[](bytes, std::align_val_t{64})));
}

float check_vectors(std::string_view function, std::string_view name, ConstRows<float> vectors, const Threads& threads) {
  std::vector<std::uint32_t> largest(static_cast<std::size_t>((vectors.rows() + kRowBlock - 1) / kRowBlock), 0);
  threads.for_blocks(vectors.rows(), kRowBlock, [&](Index begin, Index end, Index block) {
    for (Index row = begin; row < end; ++row) {
      std::uint32_t& so_far = largest[static_cast<std::size_t>(block)];
      so_far = std::max(so_far, largest_bits(vectors.row(row).data(), vectors.cols()));
    }
  });
  const std::uint32_t overall = largest.empty() ? 0 : *std::max_element(largest.begin(), largest.end());
  if (overall >= kInfinity) [[unlikely]]
    fail_at(function, name, vectors);
  return std::bit_cast<float>(overall);
}

PackedItems::PackedItems(ConstRows<float> items, const Threads& threads) : rows_(items.rows()), width_(items.cols()) {
  check_at_least("PackedItems", "items width", width_, 1);
  if (rows_ > std::numeric_limits<Row>::max()) [[unlikely]]
    fail("PackedItems", "items has " + std::to_string(rows_) + " rows, but must have at most 2147483647");
  largest_ = check_vectors("PackedItems", "items", items, threads);
  values_ = aligned_floats(panels() * width_ * kPanelWidth);
  threads.for_blocks(panels(), kPanelBlock, [&](Index begin, Index end, Index) {
    for (Index p = begin; p < end; ++p) {
      float* out = values_.get() + p * width_ * kPanelWidth;
      const Index first = p * kPanelWidth, count = std::min<Index>(kPanelWidth, rows_ - first);
      for (Index lane = 0; lane < count; ++lane) {
        const float* item = items.row(first + lane).data();
        for (Index k = 0; k < width_; ++k) out[k * kPanelWidth + lane] = item[k];
      }
      for (Index k = 0; k < width_; ++k) std::fill(out + k * kPanelWidth + count, out + (k + 1) * kPanelWidth, 0.0f);
    }
  });
}

}  // namespace twotower::retrieval
