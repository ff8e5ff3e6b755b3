#include "twotower/nn/row_gradients.hpp"

#include <bit>
#include <string>
#include <utility>

#include "twotower/base/check.hpp"

namespace twotower::nn {
namespace {

constexpr std::string_view kName = "RowGradients";
constexpr std::uint32_t kDigitBits = 11;  // 2048 counters stay in L1; two passes sort a table of four million rows

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

// Radix sort from the lowest digit: each pass is stable, so equal rows stay in the order of their touches.
template <class Scalar>
void RowGradients<Scalar>::sort_keys(Index table_rows) {
  constexpr std::uint32_t kDigits = 1U << kDigitBits;
  const auto bits = static_cast<std::uint32_t>(table_rows <= 1 ? 0 : std::bit_width(static_cast<std::uint64_t>(table_rows - 1)));
  other_keys_.resize(keys_.size());
  for (std::uint32_t shift = 0; shift < bits; shift += kDigitBits) {
    const auto digit = [shift](const Key& key) { return key.row >> shift & (kDigits - 1); };
    counts_.assign(kDigits, 0);
    for (const Key& key : keys_) ++counts_[digit(key)];
    std::uint32_t start = 0;
    for (std::uint32_t& count : counts_) start += std::exchange(count, start);
    for (const Key& key : keys_) other_keys_[counts_[digit(key)]++] = key;
    keys_.swap(other_keys_);
  }
}

template <class Scalar>
void RowGradients<Scalar>::sum(Index k, Scalar* out) const {
  using Vector = RowVector<Scalar>;
  const auto begin = static_cast<std::size_t>(starts_[static_cast<std::size_t>(k)]);
  const auto end = static_cast<std::size_t>(starts_[static_cast<std::size_t>(k) + 1]);
  Eigen::Map<Vector> total(out, width_);
  total = Eigen::Map<const Vector>(parts_[begin].gradient, width_) * static_cast<Scalar>(parts_[begin].scale);
  for (std::size_t i = begin + 1; i < end; ++i)
    total += Eigen::Map<const Vector>(parts_[i].gradient, width_) * static_cast<Scalar>(parts_[i].scale);
}

template <class Scalar>
void RowGradients<Scalar>::sum_all(const Threads& threads, Rows<Scalar> out) const {
  const auto count = static_cast<Index>(rows_.size());
  check_size(kName, "rows of out", out.rows(), "number of distinct rows", count);
  check_size(kName, "width of out", out.cols(), "width of the gradients", width_);
  threads.for_blocks(count, kBlock, [&](Index begin, Index end, Index) {
    for (Index k = begin; k < end; ++k) sum(k, out.data() + k * out.outerStride());
  });
}

// float trains, double checks gradients.
template class RowGradients<float>;
template class RowGradients<double>;

}  // namespace twotower::nn
