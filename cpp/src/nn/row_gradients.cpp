#include "twotower/nn/row_gradients.hpp"

#include <bit>
#include <string>
#include <utility>

#include "twotower/base/check.hpp"
#include "twotower/nn/gather.hpp"

namespace twotower::nn {
namespace {

constexpr std::string_view kName = "RowGradients";
constexpr std::uint32_t kDigitBits = 11;  // at most: 2048 counters stay in L1; two passes sort a table of four million rows

void check_below(const std::string& name, Index value, Index bound) {
  if (value < 0 || value >= bound) [[unlikely]]
    fail(kName, name + " is " + std::to_string(value) + ", but must be in [0, " + std::to_string(bound) + ")");
}

}  // namespace

template <class Scalar>
void RowGradients<Scalar>::sort(std::span<const Source> sources, Index table_rows) {
  collect(sources, table_rows);
  sort_keys(table_rows);
  rows_.clear();
  starts_.clear();
  parts_.clear();
  for (const Key& key : keys_) {
    const auto row = static_cast<Row>(key.row);
    if (rows_.empty() || rows_.back() != row) {
      rows_.push_back(row);
      starts_.push_back(static_cast<Index>(parts_.size()));
    }
    parts_.push_back(unsorted_[key.order]);
  }
  starts_.push_back(static_cast<Index>(parts_.size()));
}

template <class Scalar>
void RowGradients<Scalar>::collect(std::span<const Source> sources, Index table_rows) {
  keys_.clear();
  unsorted_.clear();
  width_ = sources.empty() ? 0 : sources.front().gradients.cols();
  for (std::size_t s = 0; s < sources.size(); ++s) {
    const auto& [touches, gradients] = sources[s];
    if (gradients.cols() != width_)
      check_size(kName, "width of sources[" + std::to_string(s) + "]", gradients.cols(), "width of sources[0]", width_);
    for (const RowTouch& touch : touches) {
      if (touch.row < 0 || touch.row >= table_rows || touch.position < 0 || touch.position >= gradients.rows()) [[unlikely]] {
        const std::string name = "sources[" + std::to_string(s) + "].touches[" + std::to_string(&touch - touches.data()) + "]";
        check_below(name + ".row", touch.row, table_rows);
        check_below(name + ".position", touch.position, gradients.rows());
      }
      keys_.push_back({static_cast<std::uint32_t>(touch.row), static_cast<std::uint32_t>(keys_.size())});
      unsorted_.push_back({gradients.data() + touch.position * gradients.outerStride(), touch.scale});
    }
  }
}

// Radix sort from the lowest digit: each pass is stable, so equal rows stay in the order of their touches. Digits are of equal
// length, since a small batch spends its time on the counters.
template <class Scalar>
void RowGradients<Scalar>::sort_keys(Index table_rows) {
  const auto bits = static_cast<std::uint32_t>(table_rows <= 1 ? 0 : std::bit_width(static_cast<std::uint64_t>(table_rows - 1)));
  if (bits == 0) return;
  const std::uint32_t passes = (bits + kDigitBits - 1) / kDigitBits, digit_bits = (bits + passes - 1) / passes;
  other_keys_.resize(keys_.size());
  for (std::uint32_t shift = 0; shift < bits; shift += digit_bits) {
    const auto digit = [shift, mask = (1U << digit_bits) - 1](const Key& key) { return key.row >> shift & mask; };
    counts_.assign(std::size_t{1} << digit_bits, 0);
    for (const Key& key : keys_) ++counts_[digit(key)];
    std::uint32_t start = 0;
    for (std::uint32_t& count : counts_) start += std::exchange(count, start);
    for (const Key& key : keys_) other_keys_[counts_[digit(key)]++] = key;
    keys_.swap(other_keys_);
  }
}

template <class Scalar>
std::span<const typename RowGradients<Scalar>::Part> RowGradients<Scalar>::parts_of(Index k) const {
  const Index begin = starts_[static_cast<std::size_t>(k)], end = starts_[static_cast<std::size_t>(k) + 1];
  return std::span(parts_).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
}

template <class Scalar>
void RowGradients<Scalar>::sum(std::span<const Part> parts, Scalar* out) const {
  for_columns(width_, [&]<int n>(Index k) {
    using Block = Eigen::Array<Scalar, 1, n>;
    Block total = Eigen::Map<const Block>(parts[0].gradient + k) * static_cast<Scalar>(parts[0].scale);
    for (const Part& part : parts.subspan(1))
      total += Eigen::Map<const Block>(part.gradient + k) * static_cast<Scalar>(part.scale);
    Eigen::Map<Block>(out + k) = total;
  });
}

template <class Scalar>
const Scalar* RowGradients<Scalar>::of(Index k, Scalar* buffer) const {
  const auto parts = parts_of(k);
  if (parts.size() == 1 && parts[0].scale == 1) return parts[0].gradient;
  sum(parts, buffer);
  return buffer;
}

template <class Scalar>
void RowGradients<Scalar>::prefetch(Index k) const {
  if (k < std::ssize(rows_))
    prefetch_row(parts_[static_cast<std::size_t>(starts_[static_cast<std::size_t>(k)])].gradient, width_);
}

template <class Scalar>
void RowGradients<Scalar>::sum_all(const Threads& threads, Rows<Scalar> out) const {
  const auto count = static_cast<Index>(rows_.size());
  check_size(kName, "rows of out", out.rows(), "number of distinct rows", count);
  check_size(kName, "width of out", out.cols(), "width of the gradients", width_);
  threads.for_blocks(count, kBlock, [&](Index begin, Index end, Index) {
    for (Index k = begin; k < end; ++k) sum(parts_of(k), out.data() + k * out.outerStride());
  });
}

// float trains, double checks gradients.
template class RowGradients<float>;
template class RowGradients<double>;

}  // namespace twotower::nn
