#include "twotower/nn/embedding.hpp"

#include <algorithm>
#include <cmath>

namespace twotower::nn {
namespace {

std::size_t at(Row row) { return static_cast<std::size_t>(row); }

// Rows of a large table come from memory one by one unless they are asked for early: 64 floats, 26,744 rows 54 -> 77 M rows/s,
// 1,000,000 rows 11 -> 14 (medians of three, one core, AVX2, GCC 12, 4-KB pages).
constexpr std::size_t kAhead = 16;

template <class Scalar>
void prefetch(const ConstRowMap<Scalar>& table, Row row) {
  constexpr Index kLine = 64 / sizeof(Scalar);
  const Scalar* values = table.data() + row * table.outerStride();
  for (Index k = 0; k < table.cols(); k += kLine) __builtin_prefetch(values + k);
}

/// The list of one entity and what its weights are divided by.
struct List {
  std::span<const Row> codes;
  std::span<const float> weights;  // empty: all 1
  double divisor;                  // 0: adds nothing

  float scale(std::size_t j) const { return static_cast<float>((weights.empty() ? 1.0 : double{weights[j]}) / divisor); }
};

double divisor_of(std::span<const float> weights, std::size_t count, Pooling pooling) {
  if (pooling == Pooling::kSum) return 1;
  double sum = weights.empty() ? static_cast<double>(count) : 0;
  for (const float weight : weights) sum += pooling == Pooling::kMean ? double{weight} : double{weight} * double{weight};
  return pooling == Pooling::kMean ? sum : std::sqrt(sum);
}

List list_of(const Lists& lists, Row entity, Pooling pooling) {
  const auto begin = static_cast<std::size_t>(lists.offsets[at(entity)]);
  const auto count = static_cast<std::size_t>(lists.offsets[at(entity) + 1]) - begin;
  const auto weights = lists.weights.empty() ? lists.weights : lists.weights.subspan(begin, count);
  return {lists.codes.subspan(begin, count), weights, divisor_of(weights, count, pooling)};
}

}  // namespace

template <class Scalar>
void Embedding::forward(const ConstRowMap<Scalar>& table, std::span<const Row> codes, Rows<Scalar> y) const {
  for (std::size_t i = 0; i < codes.size(); ++i) {
    if (i + kAhead < codes.size())
      if (const Row next = codes[i + kAhead]; next >= 0) prefetch(table, next);
    if (codes[i] >= 0) y.row(static_cast<Index>(i)) += table.row(codes[i]);
  }
}

void Embedding::touches(std::span<const Row> codes, std::vector<RowTouch>& out) const {
  for (std::size_t i = 0; i < codes.size(); ++i)
    if (codes[i] >= 0) out.push_back({codes[i], static_cast<Row>(i), 1});
}

template <class Scalar>
void Bag::forward(const ConstRowMap<Scalar>& table, const Lists& lists, std::span<const Row> rows, Rows<Scalar> y) const {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const List list = list_of(lists, rows[i], pooling);
    if (list.divisor == 0) continue;
    for (std::size_t j = 0; j < list.codes.size(); ++j)
      y.row(static_cast<Index>(i)) += table.row(list.codes[j]) * static_cast<Scalar>(list.scale(j));
  }
}

void Bag::touches(const Lists& lists, std::span<const Row> rows, std::vector<RowTouch>& out) const {
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const List list = list_of(lists, rows[i], pooling);
    if (list.divisor == 0) continue;
    for (std::size_t j = 0; j < list.codes.size(); ++j) out.push_back({list.codes[j], static_cast<Row>(i), list.scale(j)});
  }
}

template <class Scalar>
void Numeric::initialize(Scalar* parameters, RandomStream& random) const {
  for (Index k = 0; k < width; ++k) parameters[k] = static_cast<Scalar>(deviation * random.normal());
  std::fill_n(parameters + width, width, Scalar(0));
  for (Index k = 2 * width; k < 3 * width; ++k) parameters[k] = static_cast<Scalar>(deviation * random.normal());
}

template <class Scalar>
void Numeric::forward(const Scalar* parameters, std::span<const float> values, std::span<const Row> rows, Rows<Scalar> y) const {
  using Vector = Eigen::Map<const RowVector<Scalar>>;
  const Vector slope(parameters, width), start(parameters + width, width), missing(parameters + 2 * width, width);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const float value = values[at(rows[i])];
    if (std::isnan(value))
      y.row(static_cast<Index>(i)) += missing;
    else
      y.row(static_cast<Index>(i)) += slope * static_cast<Scalar>(value) + start;
  }
}

template <class Scalar>
void Numeric::backward(std::span<const float> values, std::span<const Row> rows, ConstRows<Scalar> dy,
                       Scalar* dparameters) const {
  using Vector = Eigen::Map<RowVector<Scalar>>;
  Vector dslope(dparameters, width), dstart(dparameters + width, width), dmissing(dparameters + 2 * width, width);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const float value = values[at(rows[i])];
    const auto dy_row = dy.row(static_cast<Index>(i));
    if (std::isnan(value)) {
      dmissing += dy_row;
    } else {
      dslope += dy_row * static_cast<Scalar>(value);
      dstart += dy_row;
    }
  }
}

// float trains, double checks gradients.
template void Embedding::forward<float>(const ConstRowMap<float>&, std::span<const Row>, Rows<float>) const;
template void Embedding::forward<double>(const ConstRowMap<double>&, std::span<const Row>, Rows<double>) const;
template void Bag::forward<float>(const ConstRowMap<float>&, const Lists&, std::span<const Row>, Rows<float>) const;
template void Bag::forward<double>(const ConstRowMap<double>&, const Lists&, std::span<const Row>, Rows<double>) const;
template void Numeric::initialize<float>(float*, RandomStream&) const;
template void Numeric::initialize<double>(double*, RandomStream&) const;
template void Numeric::forward<float>(const float*, std::span<const float>, std::span<const Row>, Rows<float>) const;
template void Numeric::forward<double>(const double*, std::span<const float>, std::span<const Row>, Rows<double>) const;
template void Numeric::backward<float>(std::span<const float>, std::span<const Row>, ConstRows<float>, float*) const;
template void Numeric::backward<double>(std::span<const float>, std::span<const Row>, ConstRows<double>, double*) const;

}  // namespace twotower::nn
