#include "twotower/retrieval/screened_items.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <string>
#include <utility>

#include "twotower/base/check.hpp"

namespace twotower::retrieval {
namespace {

constexpr Index kPanelBlock = 32;
constexpr Index kLeaderShare = 16, kFewLeaders = 64;
constexpr double kLargestCode = 127;

// Lengths are computed in double; the factor and the term are far above what that rounds away.
double rounded_up(double length) { return length * (1 + 1e-9) + 1e-9; }

// The error of a float32 chain of n multiply-adds is at most gamma_n times the lengths of its vectors (Higham 2002, Accuracy and
// Stability of Numerical Algorithms, section 3.1).
double gamma(Index n) {
  const double rounding = static_cast<double>(n) * 0x1.0p-24;
  return rounding / (1 - rounding);
}

}  // namespace

double Coder::scale_for(float largest) {
  return largest < std::numeric_limits<float>::min() ? 1 : kLargestCode / static_cast<double>(largest);
}

void Coder::code(const float* values, double scale) {
  scaled_ = Eigen::Map<const Eigen::ArrayXf>(values, scaled_.size()).cast<double>() * scale;
  codes_ = scaled_.rint().min(kLargestCode).max(-kLargestCode);
}

double Coder::length() const { return rounded_up(scaled_.matrix().norm()); }
double Coder::code_length() const { return rounded_up(codes_.matrix().norm()); }
double Coder::residual_length() const { return rounded_up((scaled_ - codes_).matrix().norm()); }

ScreenedItems::ScreenedItems(ConstRows<float> items, const Threads& threads) : width_(items.cols()) {
  check_at_least("ItemIndex", "items width", width_, 1);
  if (width_ > kScreenMaxWidth) [[unlikely]]
    fail("ItemIndex", "items width is " + std::to_string(width_) + ", but must be at most " + std::to_string(kScreenMaxWidth) +
                          " with screen=True");
  check_item_count("ItemIndex", items.rows());
  largest_ = check_vectors("ItemIndex", "items", items, threads);
  put(items, threads);
}

void ScreenedItems::append(ConstRows<float> items, const Threads& threads) {
  check_size("ItemIndex.append", "the width of items", items.cols(), "the width of the packed items", width_);
  check_item_count("ItemIndex.append", rows_ + items.rows());
  largest_ = std::max(largest_, check_vectors("ItemIndex.append", "items", items, threads));
  put(items, threads);
}

void ScreenedItems::replace(std::span<const Row> rows, ConstRows<float> items, const Threads& threads) {
  check_size("ItemIndex.replace", "the width of items", items.cols(), "the width of the packed items", width_);
  check_size("ItemIndex.replace", "the size of rows", static_cast<Index>(rows.size()), "the number of items", items.rows());
  check_rows("ItemIndex.replace", "rows", rows, rows_);
  check_vectors("ItemIndex.replace", "items", items, threads);
  std::vector<Row> touched;
  for (Index i = 0; i < items.rows(); ++i) {
    const Row row = rows[static_cast<std::size_t>(i)];
    std::copy_n(items.row(i).data(), width_, values_.get() + row * width_);
    touched.push_back(row / kScreenWidth);
  }
  std::sort(touched.begin(), touched.end());
  touched.erase(std::unique(touched.begin(), touched.end()), touched.end());
  code_panels(touched, threads);
  // What was the largest may be gone.
  largest_ = check_vectors("ItemIndex.replace", "items",
                           ConstRowMap<float>(values_.get(), rows_, width_, Eigen::OuterStride<>(width_)), threads);
}

Index ScreenedItems::memory_bytes() const {
  const Index words = capacity_ * kScreenWidth * (width_ + this->words());
  return words * static_cast<Index>(sizeof(float)) +
         static_cast<Index>(bounds_.capacity() * sizeof(Bounds) + leaders_.capacity() * sizeof(Row));
}

// Items behind the last one: the panels from that of the first new one on are coded anew.
void ScreenedItems::put(ConstRows<float> items, const Threads& threads) {
  const Index first = rows_;
  reserve(first + items.rows(), threads);
  rows_ = first + items.rows();
  threads.for_blocks(items.rows(), kPanelBlock * kScreenWidth, [&](Index begin, Index end, Index) {
    for (Index row = begin; row < end; ++row) std::copy_n(items.row(row).data(), width_, values_.get() + (first + row) * width_);
  });
  bounds_.resize(static_cast<std::size_t>(panels()));
  std::vector<Row> touched(static_cast<std::size_t>(panels() - first / kScreenWidth));
  std::iota(touched.begin(), touched.end(), static_cast<Row>(first / kScreenWidth));
  code_panels(touched, threads);
}

void ScreenedItems::reserve(Index rows, const Threads& threads) {
  const Index wanted = (rows + kScreenWidth - 1) / kScreenWidth;
  if (wanted <= capacity_) return;
  const Index capacity = std::max(wanted, capacity_ + capacity_ / 2), row_block = kPanelBlock * kScreenWidth;
  AlignedFloats values = aligned_floats(capacity * kScreenWidth * width_), codes = aligned_floats(capacity * panel_words());
  threads.for_blocks(rows_, row_block, [&](Index begin, Index end, Index) {
    std::copy(values_.get() + begin * width_, values_.get() + end * width_, values.get() + begin * width_);
  });
  threads.for_blocks(panels(), kPanelBlock, [&](Index begin, Index end, Index) {
    std::memcpy(codes.get() + begin * panel_words(), codes_.get() + begin * panel_words(),
                static_cast<std::size_t>((end - begin) * panel_words()) * sizeof(float));
  });
  values_ = std::move(values);
  codes_ = std::move(codes);
  capacity_ = capacity;
}

void ScreenedItems::code_panels(std::span<const Row> touched, const Threads& threads) {
  threads.for_blocks(static_cast<Index>(touched.size()), kPanelBlock, [&](Index begin, Index end, Index) {
    Coder coder(width_);
    for (Index i = begin; i < end; ++i) code_panel(touched[static_cast<std::size_t>(i)], coder);
  });
  rank_panels();
}

void ScreenedItems::code_panel(Index p, Coder& coder) {
  const Index first = p * kScreenWidth, count = std::min<Index>(kScreenWidth, rows_ - first);
  const ConstRowMap<float> values(item(first), count, width_, Eigen::OuterStride<>(width_));
  auto* out = reinterpret_cast<std::uint8_t*>(codes_.get() + p * panel_words());
  std::memset(out, 128, static_cast<std::size_t>(panel_words() * kWordCodes));
  Bounds bounds;
  bounds.scale = Coder::scale_for(values.cwiseAbs().maxCoeff());
  double longest = 0;
  for (Index lane = 0; lane < count; ++lane) {
    coder.code(item(first + lane), bounds.scale);
    const double length = coder.length();
    longest = std::max(longest, length);
    bounds.codes = std::max(bounds.codes, coder.code_length());
    bounds.residual = std::max(bounds.residual, coder.residual_length() + gamma(width_) * length);
    for (Index k = 0; k < width_; ++k)
      out[(k / kWordCodes * kScreenWidth + lane) * kWordCodes + k % kWordCodes] = static_cast<std::uint8_t>(coder[k] + 128);
  }
  bounds.longest = static_cast<float>(longest / bounds.scale);
  bounds_[static_cast<std::size_t>(p)] = bounds;
}

void ScreenedItems::rank_panels() {
  leaders_.resize(bounds_.size());
  std::iota(leaders_.begin(), leaders_.end(), Row{0});
  const auto longer = [&](Row a, Row b) {
    const float left = bounds(a).longest, right = bounds(b).longest;
    return left != right ? left > right : a < b;
  };
  const auto count = static_cast<std::ptrdiff_t>(std::min(panels(), std::max(kFewLeaders, panels() / kLeaderShare)));
  std::partial_sort(leaders_.begin(), leaders_.begin() + count, leaders_.end(), longer);
  leaders_.resize(static_cast<std::size_t>(count));
  leaders_.shrink_to_fit();
  for (Bounds& bounds : bounds_) bounds.rank = static_cast<Row>(count);
  for (std::ptrdiff_t i = 0; i < count; ++i)
    bounds_[static_cast<std::size_t>(leaders_[static_cast<std::size_t>(i)])].rank = static_cast<Row>(i);
}

}  // namespace twotower::retrieval
