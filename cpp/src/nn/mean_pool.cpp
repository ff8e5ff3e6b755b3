#include "twotower/nn/mean_pool.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "twotower/base/check.hpp"
#include "twotower/nn/gather.hpp"
#include "twotower/nn/ordered_sum.hpp"

namespace twotower::nn {
namespace {

constexpr double kEpsilon = 1e-6;  // as L2Normalize
constexpr double kDeviation = 0.01;

std::size_t at(Index index) { return static_cast<std::size_t>(index); }

/// Where things lie in the cache: a running mean; the share of each position and the divisor of the mean up to it; for each
/// reader what the mean is multiplied with, or kEmpty, and for kUnit the direction of the mean.
template <class Scalar>
struct Cache {
  static constexpr Scalar kEmpty = -1;
  Scalar *mean, *shares, *divisors, *readers;
  Index stride;

  Cache(const MeanPool& pool, const Sequences& sequences, std::vector<Scalar>& values)
      : stride(1 + (pool.length == MeanLength::kUnit ? pool.width : 0)) {
    values.resize(at(pool.width + 2 * sequences.positions() + sequences.rows() * stride));
    mean = values.data();
    shares = mean + pool.width;
    divisors = shares + sequences.positions();
    readers = divisors + sequences.positions();
  }

  Scalar& scale(Index row) const { return readers[row * stride]; }
  Scalar* direction(Index row) const { return readers + row * stride + 1; }
};

std::span<const std::int32_t> lengths_of(const Sequences& sequences, Index s) {
  const std::int64_t begin = sequences.readers[at(s)], end = sequences.readers[at(s + 1)];
  return sequences.lengths.subspan(at(begin), at(end - begin));
}

Index longest_of(std::span<const std::int32_t> lengths) {
  return lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end());
}

/// Writes the share of each of `count` positions from `begin` in the mean of what lies up to it: w_j / sum_i w_i decay^(j-i).
/// and the divisor. Returns how many elements a reader must see for its weights not to be all 0.
template <class Scalar>
Index find_shares(std::span<const float> weights, std::int64_t begin, Index count, double decay, Scalar* shares,
                  Scalar* divisors) {
  double total = 0;
  Index needed = count + 1;
  for (Index j = 0; j < count; ++j) {
    const double weight = weights.empty() ? 1 : double{weights[at(begin + j)]};
    total = decay * total + weight;
    divisors[j] = static_cast<Scalar>(total);
    shares[j] = weight > 0 ? static_cast<Scalar>(weight / total) : 0;
    if (weight > 0 && needed > count) needed = j + 1;
  }
  return needed;
}

/// mean = mean of the first `to` elements, from that of the first `from`.
template <class Scalar>
void advance(const Gather<Scalar>& gather, const Scalar* shares, Index from, Index to, Scalar* mean) {
  for_columns(gather.width, [&]<int n>(Index k) {
    using Block = Eigen::Array<Scalar, 1, n>;
    Block block = Eigen::Map<const Block>(mean + k);
    for (Index j = from; j < to; ++j) {
      if (k == 0) gather.prefetch(j);
      block += shares[j] * (Eigen::Map<const Block>(gather.row(j) + k) - block);
    }
    Eigen::Map<Block>(mean + k) = block;
  });
}

/// From the gradients of the means that are read after each position, those of the elements, in place and from the end.
///
/// With p_j = (1 - share_j) p_(j-1) + share_j x_j and h the gradient of p_j, the readers of p_j and of all behind it included:
/// dx_j = share_j h, and what flows on to p_(j-1) is (1 - share_j) h.
template <class Scalar>
void retreat(const Scalar* shares, Index count, Index width, Scalar* dpositions, Index stride) {
  for_columns(width, [&]<int n>(Index k) {
    using Block = Eigen::Array<Scalar, 1, n>;
    Block block = Block::Zero();
    for (Index j = count - 1; j >= 0; --j) {
      Eigen::Map<Block> dposition(dpositions + j * stride + k);
      block += dposition;
      dposition = shares[j] * block;
      block -= shares[j] * block;
    }
  });
}

/// Adds the gradient of the mean of reader `row` to dmean (width).
template <class Scalar>
void add_gradient_of_mean(const MeanPool& pool, const Scalar* parameters, const Cache<Scalar>& kept, Index row, const Scalar* dy,
                          Scalar* dmean, Scalar* dparameters) {
  using Vector = Eigen::Map<const RowVector<Scalar>>;
  const Scalar longest_inverse = 1 / static_cast<Scalar>(kEpsilon);  // computed as in forward, so that equality can be asked for
  const Vector dy_row(dy, pool.width);
  Eigen::Map<RowVector<Scalar>> into(dmean, pool.width);
  const Scalar scale = kept.scale(row);
  if (scale == Cache<Scalar>::kEmpty) {
    Eigen::Map<RowVector<Scalar>>(dparameters, pool.width) += dy_row;
  } else if (pool.length == MeanLength::kUnit) {
    const Vector direction(kept.direction(row), pool.width);
    const Scalar along = ordered_sum(direction.array() * dy_row.array());
    dparameters[pool.width] += along;
    // Below epsilon the length is free and nothing is taken away.
    into += parameters[pool.width] * scale * (dy_row - direction * (scale == longest_inverse ? 0 : along));
  } else {
    into += scale * dy_row;
  }
}

}  // namespace

void MeanPool::check() const {
  check_at_least(kName, "width", width, 1);
  if (!(decay > 0 && decay <= 1)) fail(kName, "decay is " + shown(decay) + ", but must be above 0 and at most 1");
}

template <class Scalar>
void MeanPool::initialize(Scalar* parameters, RandomStream& random) const {
  for (Index k = 0; k < width; ++k) parameters[k] = static_cast<Scalar>(kDeviation * random.normal());
  if (length == MeanLength::kUnit) parameters[width] = 1;
}

template <class Scalar>
void MeanPool::forward(const Scalar* parameters, ConstRows<Scalar> elements, const Sequences& sequences, Rows<Scalar> y,
                       std::vector<Scalar>& cache, const Pass&) const {
  const Cache<Scalar> kept(*this, sequences, cache);
  const Eigen::Map<const RowVector<Scalar>> empty(parameters, width);
  const Eigen::Map<RowVector<Scalar>> mean(kept.mean, width);
  const Row* codes = sequences.codes.data();
  Index row = 0;
  for (Index s = 0; s < sequences.count(); ++s) {
    const std::int64_t begin = sequences.offsets[at(s)];
    const auto lengths = lengths_of(sequences, s);
    const Gather<Scalar> gather{elements.data(), elements.outerStride(), width, codes + begin, codes + sequences.offsets.back()};
    Scalar *shares = kept.shares + (begin - sequences.offsets[0]), *divisors = kept.divisors + (begin - sequences.offsets[0]);
    const Index needed = find_shares(sequences.weights, begin, longest_of(lengths), decay, shares, divisors);
    Index seen = 0;
    std::fill_n(kept.mean, width, Scalar(0));
    for (const std::int32_t read : lengths) {
      if (read < seen) {
        seen = 0;
        std::fill_n(kept.mean, width, Scalar(0));
      }
      advance(gather, shares, std::exchange(seen, read), read, kept.mean);
      const bool is_empty = read < needed;
      if (is_empty) {
        kept.scale(row) = Cache<Scalar>::kEmpty;
        y.row(row) = empty;
      } else if (length == MeanLength::kUnit) {
        const Scalar size = std::sqrt(ordered_sum(mean.array().square())), least = static_cast<Scalar>(kEpsilon);
        const Scalar inverse = kept.scale(row) = 1 / (size < least ? least : size);  // not std::max: it would hide a NaN
        Eigen::Map<RowVector<Scalar>> direction(kept.direction(row), width);
        direction = mean * inverse;
        y.row(row) = direction * parameters[width];
      } else {
        kept.scale(row) = length == MeanLength::kRoot ? std::sqrt(divisors[read - 1]) : 1;
        y.row(row) = mean * kept.scale(row);
      }
      ++row;
    }
  }
}

template <class Scalar>
void MeanPool::backward(const Scalar* parameters, ConstRows<Scalar>, const Sequences& sequences, ConstRows<Scalar> dy,
                        Rows<Scalar> dpositions, std::vector<Scalar>& cache, Scalar* dparameters, const Pass&) const {
  const Cache<Scalar> kept(*this, sequences, cache);
  Index row = 0;
  for (Index s = 0; s < sequences.count(); ++s) {
    const Index begin = sequences.offsets[at(s)] - sequences.offsets[0];
    const auto lengths = lengths_of(sequences, s);
    dpositions.middleRows(begin, sequences.offsets[at(s + 1)] - sequences.offsets[at(s)]).setZero();
    for (const std::int32_t read : lengths) {
      // A reader of nothing has no last position, and writes to none.
      Scalar* const dmean = dpositions.data() + (begin + std::max(read, 1) - 1) * dpositions.outerStride();
      add_gradient_of_mean(*this, parameters, kept, row, dy.row(row).data(), dmean, dparameters);
      ++row;
    }
    retreat(kept.shares + begin, longest_of(lengths), width, dpositions.data() + begin * dpositions.outerStride(),
            dpositions.outerStride());
  }
}

void MeanPool::weigh(const Sequences& sequences, std::span<float> weights) const {
  const std::int64_t start = sequences.offsets[0];
  const auto weight_of = [&](std::int64_t p) { return sequences.weights.empty() ? 1.0 : double{sequences.weights[at(p)]}; };
  for (Index s = 0; s < sequences.count(); ++s) {
    const std::int64_t begin = sequences.offsets[at(s)], end = sequences.offsets[at(s + 1)];
    std::int64_t last = begin + sequences.lengths[at(sequences.readers[at(s)])] - 1;
    while (last >= begin && weight_of(last) == 0) --last;  // age counts from here: the divisor is then never 0
    double divisor = 0;
    for (std::int64_t p = begin; p <= last; ++p) divisor = decay * divisor + weight_of(p);
    std::fill(weights.begin() + (last + 1 - start), weights.begin() + (end - start), 0.0F);
    double share = 1 / divisor;
    for (std::int64_t p = last; p >= begin; --p, share *= decay)
      weights[at(p - start)] = static_cast<float>(weight_of(p) * share);
  }
}

template <class Scalar>
void MeanPool::backward_to_sums(const Scalar* parameters, const Sequences& sequences, ConstRows<Scalar> dy, Rows<Scalar> dsums,
                                std::vector<Scalar>& cache, Scalar* dparameters) const {
  const Cache<Scalar> kept(*this, sequences, cache);
  dsums.setZero();
  for (Index row = 0; row < dsums.rows(); ++row)
    add_gradient_of_mean(*this, parameters, kept, row, dy.row(row).data(), dsums.row(row).data(), dparameters);
}

// float trains, double checks gradients.
template void MeanPool::initialize<float>(float*, RandomStream&) const;
template void MeanPool::initialize<double>(double*, RandomStream&) const;
template void MeanPool::forward<float>(const float*, ConstRows<float>, const Sequences&, Rows<float>, std::vector<float>&,
                                       const Pass&) const;
template void MeanPool::forward<double>(const double*, ConstRows<double>, const Sequences&, Rows<double>, std::vector<double>&,
                                        const Pass&) const;
template void MeanPool::backward<float>(const float*, ConstRows<float>, const Sequences&, ConstRows<float>, Rows<float>,
                                        std::vector<float>&, float*, const Pass&) const;
template void MeanPool::backward<double>(const double*, ConstRows<double>, const Sequences&, ConstRows<double>, Rows<double>,
                                         std::vector<double>&, double*, const Pass&) const;
template void MeanPool::backward_to_sums<float>(const float*, const Sequences&, ConstRows<float>, Rows<float>,
                                                std::vector<float>&, float*) const;
template void MeanPool::backward_to_sums<double>(const double*, const Sequences&, ConstRows<double>, Rows<double>,
                                                 std::vector<double>&, double*) const;

}  // namespace twotower::nn
