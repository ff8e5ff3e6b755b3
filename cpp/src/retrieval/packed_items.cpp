#include "twotower/retrieval/packed_items.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
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

Index panels_of(Index rows) { return (rows + kPanelWidth - 1) / kPanelWidth; }

}  // namespace

void check_item_count(std::string_view function, Index rows) {
  if (rows > std::numeric_limits<Row>::max()) [[unlikely]]
    fail(function, "items has " + std::to_string(rows) + " rows, but must have at most 2147483647");
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

PackedItems::PackedItems(ConstRows<float> items, const Threads& threads) : rows_(0), width_(items.cols()), largest_(0) {
  check_at_least("ItemIndex", "items width", width_, 1);
  check_item_count("ItemIndex", items.rows());
  largest_ = check_vectors("ItemIndex", "items", items, threads);
  capacity_ = panels_of(items.rows());
  values_ = aligned_floats(capacity_ * width_ * kPanelWidth);
  put(items, 0, threads);
}

void PackedItems::append(ConstRows<float> items, const Threads& threads) {
  check_size("ItemIndex.append", "the width of items", items.cols(), "the width of the packed items", width_);
  check_item_count("ItemIndex.append", rows_ + items.rows());
  const float largest = check_vectors("ItemIndex.append", "items", items, threads);
  const Index wanted = panels_of(rows_ + items.rows()), panel_size = width_ * kPanelWidth;
  if (wanted > capacity_) {
    const Index capacity = std::max(wanted, capacity_ + capacity_ / 2);
    AlignedFloats values = aligned_floats(capacity * panel_size);
    threads.for_blocks(panels(), kPanelBlock, [&](Index begin, Index end, Index) {
      std::copy(panel(begin), panel(end), values.get() + begin * panel_size);
    });
    values_ = std::move(values);
    capacity_ = capacity;
  }
  largest_ = std::max(largest_, largest);
  put(items, rows_, threads);
}

void PackedItems::replace(std::span<const Row> rows, ConstRows<float> items, const Threads& threads) {
  check_size("ItemIndex.replace", "the width of items", items.cols(), "the width of the packed items", width_);
  check_size("ItemIndex.replace", "the size of rows", static_cast<Index>(rows.size()), "the number of items", items.rows());
  check_rows("ItemIndex.replace", "rows", rows, rows_);
  check_vectors("ItemIndex.replace", "items", items, threads);
  for (Index i = 0; i < items.rows(); ++i) {
    const Row row = rows[static_cast<std::size_t>(i)];
    float* out = values_.get() + row / kPanelWidth * width_ * kPanelWidth + row % kPanelWidth;
    const float* item = items.row(i).data();
    for (Index k = 0; k < width_; ++k) out[k * kPanelWidth] = item[k];
  }
  // What was the largest may be gone. Padding is zero and does not count.
  largest_ = check_vectors("ItemIndex.replace", "items",
                           ConstRowMap<float>(values_.get(), panels() * width_, kPanelWidth, Eigen::OuterStride<>(kPanelWidth)),
                           threads);
}

// Items of panels from that of `first` on: those before `first` stay, the rest of the last panel becomes zero.
void PackedItems::put(ConstRows<float> items, Index first, const Threads& threads) {
  rows_ = first + items.rows();
  const Index first_panel = first / kPanelWidth;
  threads.for_blocks(panels() - first_panel, kPanelBlock, [&](Index begin, Index end, Index) {
    for (Index p = first_panel + begin; p < first_panel + end; ++p) {
      float* out = values_.get() + p * width_ * kPanelWidth;
      const Index start = p * kPanelWidth, from = std::max<Index>(first - start, 0);
      const Index count = std::min<Index>(kPanelWidth, rows_ - start);
      for (Index lane = from; lane < count; ++lane) {
        const float* item = items.row(start + lane - first).data();
        for (Index k = 0; k < width_; ++k) out[k * kPanelWidth + lane] = item[k];
      }
      for (Index k = 0; k < width_; ++k) std::fill(out + k * kPanelWidth + count, out + (k + 1) * kPanelWidth, 0.0f);
    }
  });
}

}  // namespace twotower::retrieval
