#include "twotower/nn/attention_pool.hpp"

#include <algorithm>
#include <cmath>

#include "twotower/base/check.hpp"
#include "twotower/nn/gather.hpp"
#include "twotower/nn/ordered_product.hpp"
#include "twotower/nn/ordered_sum.hpp"

namespace twotower::nn {
namespace {

constexpr double kDeviation = 0.01;
constexpr int kLanes = 16;  // exp runs over whole groups of lanes, so that its bits do not depend on where they lie

std::size_t at(Index index) { return static_cast<std::size_t>(index); }

Index whole_lanes(Index count) { return (count + kLanes - 1) / kLanes * kLanes; }

/// Parameters or their gradients, by name.
template <class Scalar>
struct Parts {
  using Square =
      Eigen::Map<std::conditional_t<std::is_const_v<Scalar>, const Matrix<std::remove_const_t<Scalar>>, Matrix<Scalar>>>;
  using Vector =
      Eigen::Map<std::conditional_t<std::is_const_v<Scalar>, const RowVector<std::remove_const_t<Scalar>>, RowVector<Scalar>>>;
  Square query, key, value;
  Vector start, bias, empty;

  Parts(const AttentionPool& pool, Scalar* p)
      : query(p, pool.width, pool.width),
        key(p + pool.width * pool.width, pool.width, pool.width),
        value(p + 2 * pool.width * pool.width, pool.width, pool.width),
        start(p + 3 * pool.width * pool.width, pool.width),
        bias(start.data() + pool.width, pool.max_length),
        empty(bias.data() + pool.max_length, pool.width) {}
};

/// One reader that sees something: elements 0 to newest of a sequence that begins at position `begin` of the call.
template <class Scalar>
struct Reader {
  Index row, begin, newest;
  Gather<Scalar> gather;
  const float* weights;  // null: all 1
  Scalar* attention;     // whole_lanes(newest + 1)
};

/// Calls seen(reader) or empty(row) for every reader, in the order of rows. `attention` is where the readers' weights lie.
template <class Scalar, class Seen, class Empty>
void for_readers(Index width, ConstRows<Scalar> elements, const Sequences& sequences, Scalar* attention, const Seen& seen,
                 const Empty& empty) {
  Index row = 0;
  for (Index s = 0; s < sequences.count(); ++s) {
    const std::int64_t begin = sequences.offsets[at(s)];
    const Row* codes = sequences.codes.data();
    const float* weights = sequences.weights.empty() ? nullptr : sequences.weights.data() + begin;
    const Gather<Scalar> gather{elements.data(), elements.outerStride(), width, codes + begin, codes + sequences.offsets.back()};
    for (std::int64_t r = sequences.readers[at(s)]; r < sequences.readers[at(s + 1)]; ++r, ++row) {
      Index newest = sequences.lengths[at(r)] - 1;
      while (weights && newest >= 0 && weights[newest] == 0) --newest;
      if (newest < 0) {
        empty(row);
      } else {
        seen(Reader<Scalar>{row, begin - sequences.offsets[0], newest, gather, weights, attention});
        attention += whole_lanes(newest + 1);
      }
    }
  }
}

Index attention_size(const Sequences& sequences) {
  Index size = 0;
  for (std::int64_t r = sequences.readers.front(); r < sequences.readers.back(); ++r)
    size += whole_lanes(sequences.lengths[at(r)]);
  return size;
}

/// Matrices of one row a reader, and the weights. `keys` is q W_k^T / sqrt(width): what an element is multiplied with.
template <class Scalar>
struct Cache {
  using Block = Eigen::Map<Matrix<Scalar>>;
  Scalar *packed, *attention;
  Block newest, queries, keys, pooled, dpooled, dkeys;

  Cache(const AttentionPool& pool, const Sequences& sequences, std::vector<Scalar>& values)
      : packed(resized(pool, sequences, values)),
        attention(packed + packed_size(pool.width, pool.width)),
        newest(block(pool, sequences, 0)),
        queries(block(pool, sequences, 1)),
        keys(block(pool, sequences, 2)),
        pooled(block(pool, sequences, 3)),
        dpooled(block(pool, sequences, 4)),
        dkeys(block(pool, sequences, 5)) {}

  /// c = a b, or a b^T.
  void product(const Block& a, const Eigen::Map<const Matrix<Scalar>>& b, bool transposed, Scalar* c, Index c_row) const {
    const Index width = b.rows();
    pack(b.data(), transposed ? 1 : width, transposed ? width : 1, width, width, packed);
    ordered_product(a.data(), width, 1, a.rows(), packed, width, 0, width, width, c, c_row);
  }

 private:
  static Scalar* resized(const AttentionPool& pool, const Sequences& sequences, std::vector<Scalar>& values) {
    values.resize(
        at(packed_size(pool.width, pool.width) + attention_size(sequences) + 6 * whole_lanes(sequences.rows() * pool.width)));
    return values.data();
  }

  Block block(const AttentionPool& pool, const Sequences& sequences, Index number) const {
    return Block(attention + attention_size(sequences) + number * whole_lanes(sequences.rows() * pool.width), sequences.rows(),
                 pool.width);
  }
};

template <class Scalar>
Scalar dot(const Scalar* a, const Scalar* b, Index width) {
  using Vector = Eigen::Map<const Eigen::Array<Scalar, 1, Eigen::Dynamic>>;
  return ordered_sum(Vector(a, width) * Vector(b, width));
}

Index bias_of(const AttentionPool& pool, Index lag) { return std::min(lag, pool.max_length - 1); }

/// Writes the weights of a reader's elements, which sum to 1.
template <class Scalar>
void attend(const AttentionPool& pool, const Reader<Scalar>& reader, const Scalar* key, const Scalar* bias) {
  using Lanes = Eigen::Array<Scalar, 1, kLanes>;
  const Index count = reader.newest + 1, padded = whole_lanes(count);
  const auto weight = [&](Index j) { return reader.weights ? static_cast<Scalar>(reader.weights[j]) : Scalar(1); };
  Scalar* a = reader.attention;
  Scalar largest = -std::numeric_limits<Scalar>::infinity();
  for (Index j = 0; j < count; ++j) {
    reader.gather.prefetch(j);
    a[j] = dot(reader.gather.row(j), key, pool.width) + bias[bias_of(pool, reader.newest - j)];
    if (a[j] > largest && weight(j) > 0) largest = a[j];
  }
  std::fill(a + count, a + padded, largest);
  for (Index j = 0; j < padded; j += kLanes) Eigen::Map<Lanes>(a + j) = (Eigen::Map<Lanes>(a + j) - largest).exp();
  for (Index j = 0; j < count; ++j) a[j] = weight(j) == 0 ? 0 : weight(j) * a[j];  // a masked one may be infinite
  std::fill(a + count, a + padded, Scalar(0));
  const Eigen::Map<Eigen::Array<Scalar, 1, Eigen::Dynamic>> all(a, padded);
  const Scalar inverse = 1 / ordered_sum(all);
  for (Index j = 0; j < count; ++j) a[j] *= inverse;
}

}  // namespace

void AttentionPool::check() const {
  check_at_least(kName, "width", width, 1);
  check_at_least(kName, "max_length", max_length, 1);
}

template <class Scalar>
void AttentionPool::initialize(Scalar* parameters, RandomStream& random) const {
  Parts<Scalar> parts(*this, parameters);
  const double limit = std::sqrt(3.0 / static_cast<double>(width));
  for (Index k = 0; k < 2 * width * width; ++k) parameters[k] = static_cast<Scalar>(limit * (2 * random.uniform() - 1));
  parts.value.setIdentity();
  parts.start.setZero();
  parts.bias.setZero();
  for (Index k = 0; k < width; ++k) parts.empty[k] = static_cast<Scalar>(kDeviation * random.normal());
}

template <class Scalar>
void AttentionPool::forward(const Scalar* parameters, ConstRows<Scalar> elements, const Sequences& sequences, Rows<Scalar> y,
                            std::vector<Scalar>& cache, const Pass&) const {
  const Parts<const Scalar> parts(*this, parameters);
  Cache<Scalar> kept(*this, sequences, cache);
  const auto for_all = [&](const auto& seen, const auto& empty) {
    for_readers<Scalar>(width, elements, sequences, kept.attention, seen, empty);
  };
  for_all([&](const auto& reader) { std::copy_n(reader.gather.row(reader.newest), width, kept.newest.row(reader.row).data()); },
          [&](Index row) { kept.newest.row(row).setZero(); });
  kept.product(kept.newest, parts.query, false, kept.queries.data(), width);
  kept.queries.rowwise() += parts.start;
  kept.product(kept.queries, parts.key, true, kept.keys.data(), width);
  kept.keys *= 1 / std::sqrt(static_cast<Scalar>(width));
  for_all(
      [&](const auto& reader) {
        attend(*this, reader, kept.keys.row(reader.row).data(), parts.bias.data());
        weighted_sum(reader.gather, reader.attention, reader.newest + 1, kept.pooled.row(reader.row).data());
      },
      [&](Index row) { kept.pooled.row(row).setZero(); });
  kept.product(kept.pooled, parts.value, false, y.data(), y.outerStride());
  for_all([](const auto&) {}, [&](Index row) { y.row(row) = parts.empty; });
}

// With p = sum_j a_j x_j:  ds_j = a_j (dp . x_j - dp . p), which is what the softmax lets through; a weight only scales a_j.
template <class Scalar>
void AttentionPool::backward(const Scalar* parameters, ConstRows<Scalar> elements, const Sequences& sequences,
                             ConstRows<Scalar> dy, Rows<Scalar> dpositions, std::vector<Scalar>& cache, Scalar* dparameters,
                             const Pass&) const {
  const Parts<const Scalar> parts(*this, parameters);
  Parts<Scalar> gradients(*this, dparameters);
  Cache<Scalar> kept(*this, sequences, cache);
  const auto for_all = [&](const auto& seen, const auto& empty) {
    for_readers<Scalar>(width, elements, sequences, kept.attention, seen, empty);
  };
  gradients.value.noalias() += kept.pooled.transpose() * dy;  // rows of empty readers are 0
  kept.dkeys = dy;
  kept.product(kept.dkeys, parts.value, true, kept.dpooled.data(), width);
  dpositions.setZero();
  for_all(
      [&](const Reader<Scalar>& reader) {
        const auto key = kept.keys.row(reader.row), dpooled = kept.dpooled.row(reader.row);
        const Scalar inner = dot(dpooled.data(), kept.pooled.row(reader.row).data(), width);
        for (Index j = 0; j <= reader.newest; ++j) {
          Scalar& a = reader.attention[j];
          const Scalar ds = a * (dot(dpooled.data(), reader.gather.row(j), width) - inner);
          dpositions.row(reader.begin + j) += a * dpooled + ds * key;
          gradients.bias[bias_of(*this, reader.newest - j)] += ds;
          a = ds;
        }
        weighted_sum(reader.gather, reader.attention, reader.newest + 1, kept.dkeys.row(reader.row).data());
      },
      [&](Index row) {
        gradients.empty += dy.row(row);
        kept.dkeys.row(row).setZero();
      });
  kept.dkeys *= 1 / std::sqrt(static_cast<Scalar>(width));
  gradients.key.noalias() += kept.dkeys.transpose() * kept.queries;
  auto& dqueries = kept.dpooled;
  kept.product(kept.dkeys, parts.key, false, dqueries.data(), width);
  for (Index row = 0; row < dqueries.rows(); ++row) gradients.start += dqueries.row(row);
  gradients.query.noalias() += kept.newest.transpose() * dqueries;
  auto& dnewest = kept.dkeys;
  kept.product(dqueries, parts.query, true, dnewest.data(), width);
  for_all([&](const auto& reader) { dpositions.row(reader.begin + reader.newest) += dnewest.row(reader.row); }, [](Index) {});
}

// float trains, double checks gradients.
template void AttentionPool::initialize<float>(float*, RandomStream&) const;
template void AttentionPool::initialize<double>(double*, RandomStream&) const;
template void AttentionPool::forward<float>(const float*, ConstRows<float>, const Sequences&, Rows<float>, std::vector<float>&,
                                            const Pass&) const;
template void AttentionPool::forward<double>(const double*, ConstRows<double>, const Sequences&, Rows<double>,
                                             std::vector<double>&, const Pass&) const;
template void AttentionPool::backward<float>(const float*, ConstRows<float>, const Sequences&, ConstRows<float>, Rows<float>,
                                             std::vector<float>&, float*, const Pass&) const;
template void AttentionPool::backward<double>(const double*, ConstRows<double>, const Sequences&, ConstRows<double>, Rows<double>,
                                              std::vector<double>&, double*, const Pass&) const;

}  // namespace twotower::nn
