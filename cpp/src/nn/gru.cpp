#include "twotower/nn/gru.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "twotower/base/check.hpp"
#include "twotower/nn/gather.hpp"
#include "twotower/nn/ordered_product.hpp"

namespace twotower::nn {
namespace {

constexpr double kDeviation = 0.01;

// Rows to a product of W, and of its gradient: enough for the product to be fast, few enough for the step to find them in cache.
constexpr Index kInputRows = 48, kGradientRows = 256;

std::size_t at(Index index) { return static_cast<std::size_t>(index); }

/// Whole numbers in a piece of the cache.
template <class Scalar>
struct Numbers {
  using Number = std::conditional_t<sizeof(Scalar) == 4, std::int32_t, std::int64_t>;
  Scalar* values;

  Index operator[](Index i) const { return std::bit_cast<Number>(values[i]); }
  void set(Index i, Index value) const { values[i] = std::bit_cast<Scalar>(static_cast<Number>(value)); }
};

/// Steps of a sequence: as far as its longest reader.
Index steps_of(const Sequences& sequences, Index s) {
  std::int32_t longest = 0;
  for (std::int64_t r = sequences.readers[at(s)]; r < sequences.readers[at(s + 1)]; ++r)
    longest = std::max(longest, sequences.lengths[at(r)]);
  return longest;
}

/// The cache. Sequences are ranked by their steps, most first, and all that belongs to a step lies together in the order of
/// ranks: step j of rank i is row start[j] + i, and the rows of a step continue the first rows of the step before it.
///
/// Widths are filled up to whole panels with zeros, which stay zeros: a column without weights and bias has n = 0, so h = 0.
template <class Scalar>
struct Cache {
  Index wide = 0, count = 0, steps = 0, rows = 0;
  Numbers<Scalar> start, order, cursor;
  Scalar *inputs, *recurrent, *bias;            // W and U (wide, 3 wide), b (3 wide), filled up
  Scalar *packed, *packed_gates, *packed_last;  // W, U_r and U_z, U_n, or their transposes in backward
  Scalar *scratch, *weights;                    // (count, 2 wide), (rows)
  Scalar *x, *gates, *h, *rh, *dh;              // (rows, wide), (rows, 3 wide), (count + rows, wide), (rows, wide), (rows, wide)

  Cache(const Gru& gru, const Sequences& sequences, std::vector<Scalar>& values)
      : wide(in_panels(gru.width)), count(sequences.count()) {
    for (Index s = 0; s < count; ++s) {
      steps = std::max(steps, steps_of(sequences, s));
      rows += steps_of(sequences, s);
    }
    const Index square = wide * wide;
    constexpr Index line = 64 / static_cast<Index>(sizeof(Scalar));
    values.resize(at(line + 2 * in_panels(steps + 2) + in_panels(count) + 12 * square + 3 * wide + 3 * count * wide +
                     in_panels(rows) + 7 * rows * wide));
    Scalar* next = values.data();  // products are fastest on whole lines of 64 bytes
    next += (line - static_cast<Index>(reinterpret_cast<std::uintptr_t>(next) / sizeof(Scalar)) % line) % line;
    const auto take = [&](Index size) { return std::exchange(next, next + size); };
    start.values = take(in_panels(steps + 2)), cursor.values = take(in_panels(steps + 2)), order.values = take(in_panels(count));
    inputs = take(3 * square), recurrent = take(3 * square), bias = take(3 * wide);
    packed = take(3 * square), packed_gates = take(2 * square), packed_last = take(square);
    scratch = take(2 * count * wide), weights = take(in_panels(rows));
    x = take(rows * wide), gates = take(3 * rows * wide), h = take((count + rows) * wide);
    rh = take(rows * wide), dh = take(rows * wide);
  }

  Index active(Index step) const { return start[step + 1] - start[step]; }

  /// Row of h, which begins with `count` zero states, where the states before a step lie.
  Index before(Index step) const { return step == 0 ? 0 : count + start[step - 1]; }

  /// Counts and ranks.
  void rank(const Sequences& sequences) const {
    for (Index j = 0; j <= steps; ++j) cursor.set(j, 0);
    for (Index s = 0; s < count; ++s) cursor.set(steps_of(sequences, s), cursor[steps_of(sequences, s)] + 1);
    Index more = 0;
    for (Index j = steps; j >= 0; --j) {
      const Index equal = cursor[j];
      cursor.set(j, more);
      more += equal;
    }
    start.set(0, 0);
    for (Index j = 0; j < steps; ++j) start.set(j + 1, start[j] + cursor[j]);
    for (Index s = 0; s < count; ++s) {
      const Index own = steps_of(sequences, s), place = cursor[own];
      order.set(place, s);
      cursor.set(own, place + 1);
    }
  }

  /// Calls body(row, position of the call) for every step of every sequence.
  template <class Body>
  void for_steps(const Sequences& sequences, const Body& body) const {
    for (Index i = 0; i < count; ++i) {
      const Index begin = sequences.offsets[at(order[i])] - sequences.offsets[0];
      for (Index j = 0; j < steps && i < active(j); ++j) body(start[j] + i, begin + j);
    }
  }

  /// Calls body(row of y, row, or -1 if there is nothing to see) for every reader.
  template <class Body>
  void for_readers(const Sequences& sequences, const Body& body) const {
    for (Index i = 0; i < count; ++i)
      for (std::int64_t r = sequences.readers[at(order[i])]; r < sequences.readers[at(order[i] + 1)]; ++r) {
        const Index length = sequences.lengths[at(r)];
        body(static_cast<Index>(r - sequences.readers[0]), length == 0 ? -1 : start[length - 1] + i);
      }
  }
};

/// Parameters or their gradients, by name.
template <class Scalar>
struct Parts {
  template <class Plain>
  using View = Eigen::Map<std::conditional_t<std::is_const_v<Scalar>, const Plain, Plain>>;
  View<Matrix<std::remove_const_t<Scalar>>> inputs, recurrent;
  View<RowVector<std::remove_const_t<Scalar>>> bias, empty;

  Parts(Index width, Scalar* p)
      : inputs(p, width, 3 * width),
        recurrent(p + 3 * width * width, width, 3 * width),
        bias(p + 6 * width * width, 3 * width),
        empty(p + 6 * width * width + 3 * width, width) {}
};

/// Copies a (rows, 3 width) to (rows', 3 wide), which is filled up with zeros.
template <class From, class Scalar>
void widen(const From& from, Index rows, Index wide, Scalar* to) {
  Eigen::Map<Matrix<Scalar>> target(to, rows, 3 * wide);
  const Index width = from.cols() / 3;
  target.setZero();
  for (Index gate = 0; gate < 3; ++gate) target.block(0, gate * wide, from.rows(), width) = from.middleCols(gate * width, width);
}

// Whole groups of lanes only: the bits of tanh must not depend on where a value lies.
template <class Scalar>
using Lanes = Eigen::Array<Scalar, 1, 16>;

template <class Scalar>
auto lanes(Scalar* values) {
  return Eigen::Map<std::conditional_t<std::is_const_v<Scalar>, const Lanes<std::remove_const_t<Scalar>>, Lanes<Scalar>>>(values);
}

template <class Scalar>
Lanes<Scalar> sigmoid(const Lanes<Scalar>& x) {
  return Scalar(0.5) * (x * Scalar(0.5)).tanh() + Scalar(0.5);
}

/// One step: the states of its rows, from those before it.
template <class Scalar>
void step_forward(const Cache<Scalar>& cache, Index step) {
  const Index wide = cache.wide, active = cache.active(step), first = cache.start[step];
  const Scalar* before = cache.h + cache.before(step) * wide;
  // Before the first step there is nothing to multiply.
  const auto product = [&](const Scalar* a, const Scalar* packed, Index columns) {
    if (step > 0)
      ordered_product(a, wide, 1, active, packed, wide, 0, wide, columns, cache.scratch, columns);
    else
      std::fill_n(cache.scratch, active * columns, Scalar(0));
  };
  Scalar* rh = cache.rh + first * wide;
  product(before, cache.packed_gates, 2 * wide);
  for (Index i = 0; i < active; ++i) {
    Scalar* r = cache.gates + (first + i) * 3 * wide;
    for (Index k = 0; k < wide; k += 16) {
      const Scalar* recurrent = cache.scratch + i * 2 * wide + k;
      lanes(r + k) = sigmoid<Scalar>(lanes(r + k) + lanes(recurrent));
      lanes(r + wide + k) = sigmoid<Scalar>(lanes(r + wide + k) + lanes(recurrent + wide));
      lanes(rh + i * wide + k) = lanes(r + k) * lanes(before + i * wide + k);
    }
    if (cache.weights[first + i] == 0) std::fill_n(r + wide, wide, Scalar(1));  // z = 1 keeps h and lets no gradient through
  }
  product(rh, cache.packed_last, wide);
  for (Index i = 0; i < active; ++i) {
    Scalar *z = cache.gates + (first + i) * 3 * wide + wide, *n = z + wide, *h = cache.h + (cache.count + first + i) * wide;
    for (Index k = 0; k < wide; k += 16) {
      lanes(n + k) = (lanes(n + k) + lanes(cache.scratch + i * wide + k)).tanh();
      lanes(h + k) = lanes(z + k) * lanes(before + i * wide + k) + (1 - lanes(z + k)) * lanes(n + k);
    }
  }
}

/// One step back: gates become the gradients of what r, z and n are functions of, dh flows on to the step before, and the states
/// before the step move to its own rows.
///
/// With a_n = x W_n + (r h) U_n + b_n and so on:  da_n = dh' (1 - z) (1 - n^2),  da_z = dh' (h - n) z (1 - z),  q = da_n U_n^T,
/// da_r = q h r (1 - r),  dh = dh' z + q r + da_r U_r^T + da_z U_z^T.
template <class Scalar>
void step_backward(const Cache<Scalar>& cache, Index step) {
  const Index wide = cache.wide, active = cache.active(step), first = cache.start[step];
  const Scalar* before = cache.h + cache.before(step) * wide;
  Scalar *gates = cache.gates + first * 3 * wide, *dh = cache.dh + first * wide;
  for (Index i = 0; i < active; ++i)
    for (Index k = 0; k < wide; k += 16) {
      auto z = lanes(gates + (3 * i + 1) * wide + k), n = lanes(gates + (3 * i + 2) * wide + k), d = lanes(dh + i * wide + k);
      const Lanes<Scalar> keep = z, candidate = n;
      z = d * (lanes(before + i * wide + k) - candidate) * keep * (1 - keep);
      n = d * (1 - keep) * (1 - candidate.square());
      d *= keep;
    }
  Scalar* moved = cache.h + (cache.count + first) * wide;  // where the states behind the step lay, which nobody needs any more
  if (step == 0) {
    for (Index i = 0; i < active; ++i) std::fill_n(gates + 3 * i * wide, wide, Scalar(0));
    std::fill_n(moved, active * wide, Scalar(0));
    return;
  }
  ordered_product(gates + 2 * wide, 3 * wide, 1, active, cache.packed_last, wide, 0, wide, wide, cache.scratch, wide);
  for (Index i = 0; i < active; ++i)
    for (Index k = 0; k < wide; k += 16) {
      auto r = lanes(gates + 3 * i * wide + k);
      const Lanes<Scalar> q = lanes(cache.scratch + i * wide + k), open = r;
      r = q * lanes(before + i * wide + k) * open * (1 - open);
      lanes(dh + i * wide + k) += q * open;
    }
  ordered_product(gates, 3 * wide, 1, active, cache.packed_gates, 2 * wide, 0, 2 * wide, wide, cache.scratch, wide);
  Scalar* dbefore = cache.dh + cache.start[step - 1] * wide;
  for (Index k = 0; k < active * wide; k += 16) lanes(dbefore + k) += lanes(dh + k) + lanes(cache.scratch + k);
  std::copy_n(before, active * wide, moved);
}

/// Adds what the rows from first to last give to the gradients of W, U and b; x becomes its gradient.
template <class Scalar>
void add_gradients(const Cache<Scalar>& cache, Index width, Index first, Index last, Parts<Scalar>& gradients) {
  const Index wide = cache.wide, size = last - first;
  const auto rows = [&](const Scalar* values, Index columns) {
    return Eigen::Map<const Matrix<Scalar>>(values + first * columns, size, columns);
  };
  const auto dgates = rows(cache.gates, 3 * wide), x = rows(cache.x, wide), rh = rows(cache.rh, wide);
  const auto before = rows(cache.h + cache.count * wide, wide);  // states have moved on, see step_backward
  for (Index gate = 0; gate < 3; ++gate) {
    const auto d = dgates.middleCols(gate * wide, width);
    gradients.inputs.middleCols(gate * width, width).noalias() += x.leftCols(width).transpose() * d;
    gradients.recurrent.middleCols(gate * width, width).noalias() += (gate == 2 ? rh : before).leftCols(width).transpose() * d;
    for (Index row = 0; row < size; ++row) gradients.bias.segment(gate * width, width) += d.row(row);
  }
  ordered_product(dgates.data(), 3 * wide, 1, size, cache.packed, 3 * wide, 0, 3 * wide, wide, cache.x + first * wide, wide);
}

}  // namespace

void Gru::check() const { check_at_least(kName, "width", width, 1); }

template <class Scalar>
void Gru::initialize(Scalar* parameters, RandomStream& random) const {
  const double limit = std::sqrt(3.0 / static_cast<double>(width));
  Parts<Scalar> parts(width, parameters);
  for (Index k = 0; k < 6 * width * width; ++k) parameters[k] = static_cast<Scalar>(limit * (2 * random.uniform() - 1));
  parts.bias.setZero();
  for (Index k = 0; k < width; ++k) parts.empty[k] = static_cast<Scalar>(kDeviation * random.normal());
}

template <class Scalar>
void Gru::forward(const Scalar* parameters, ConstRows<Scalar> elements, const Sequences& sequences, Rows<Scalar> y,
                  std::vector<Scalar>& cache, const Pass&) const {
  const Parts<const Scalar> parts(width, parameters);
  const Cache<Scalar> kept(*this, sequences, cache);
  const Index wide = kept.wide;
  kept.rank(sequences);
  widen(parts.inputs, wide, wide, kept.inputs);
  widen(parts.recurrent, wide, wide, kept.recurrent);
  widen(parts.bias, 1, wide, kept.bias);
  pack(kept.inputs, 3 * wide, 1, wide, 3 * wide, kept.packed);
  pack(kept.recurrent, 3 * wide, 1, wide, 2 * wide, kept.packed_gates);
  pack(kept.recurrent + 2 * wide, 3 * wide, 1, wide, wide, kept.packed_last);

  const std::int64_t first = sequences.offsets.front();
  const Row* codes = sequences.codes.data();
  const Gather<Scalar> gather{elements.data(), elements.outerStride(), width, codes + first, codes + sequences.offsets.back()};
  kept.for_steps(sequences, [&](Index row, Index position) {
    const Scalar weight = sequences.weights.empty() ? 1 : static_cast<Scalar>(sequences.weights[at(first + position)]);
    Scalar* x = kept.x + row * wide;
    gather.prefetch(position);
    kept.weights[row] = weight;
    Eigen::Map<RowVector<Scalar>>(x, width) = weight * Eigen::Map<const RowVector<Scalar>>(gather.row(position), width);
    std::fill(x + width, x + wide, Scalar(0));
  });
  std::fill_n(kept.h, kept.count * wide, Scalar(0));
  for (Index step = 0, done = 0; step < kept.steps; ++step) {
    if (const Index needed = kept.start[step + 1]; done < needed) {
      const Index first_row = std::exchange(done, std::min(kept.rows, std::max(needed, done + kInputRows)));
      ordered_product(kept.x + first_row * wide, wide, 1, done - first_row, kept.packed, wide, 0, wide, 3 * wide,
                      kept.gates + first_row * 3 * wide, 3 * wide, kept.bias);
    }
    step_forward(kept, step);
  }
  kept.for_readers(sequences, [&](Index reader, Index row) {
    if (row < 0)
      y.row(reader) = parts.empty;
    else
      y.row(reader) = Eigen::Map<const RowVector<Scalar>>(kept.h + (kept.count + row) * wide, width);
  });
}

template <class Scalar>
void Gru::backward(const Scalar*, ConstRows<Scalar>, const Sequences& sequences, ConstRows<Scalar> dy, Rows<Scalar> dpositions,
                   std::vector<Scalar>& cache, Scalar* dparameters, const Pass&) const {
  Parts<Scalar> gradients(width, dparameters);
  const Cache<Scalar> kept(*this, sequences, cache);
  const Index wide = kept.wide;
  pack(kept.inputs, 1, 3 * wide, 3 * wide, wide, kept.packed);
  pack(kept.recurrent, 1, 3 * wide, 2 * wide, wide, kept.packed_gates);
  pack(kept.recurrent + 2 * wide, 1, 3 * wide, wide, wide, kept.packed_last);

  std::fill_n(kept.dh, kept.rows * wide, Scalar(0));
  kept.for_readers(sequences, [&](Index reader, Index row) {
    if (row < 0)
      gradients.empty += dy.row(reader);
    else
      Eigen::Map<RowVector<Scalar>>(kept.dh + row * wide, width) += dy.row(reader);
  });
  for (Index step = kept.steps - 1, last = kept.rows; step >= 0; --step) {
    step_backward(kept, step);
    if (const Index first = kept.start[step]; step == 0 || last - first >= kGradientRows)
      add_gradients(kept, width, first, std::exchange(last, first), gradients);
  }
  dpositions.setZero();
  kept.for_steps(sequences, [&](Index row, Index position) {
    dpositions.row(position) = kept.weights[row] * Eigen::Map<const RowVector<Scalar>>(kept.x + row * wide, width);
  });
}

// float trains, double checks gradients.
template void Gru::initialize<float>(float*, RandomStream&) const;
template void Gru::initialize<double>(double*, RandomStream&) const;
template void Gru::forward<float>(const float*, ConstRows<float>, const Sequences&, Rows<float>, std::vector<float>&,
                                  const Pass&) const;
template void Gru::forward<double>(const double*, ConstRows<double>, const Sequences&, Rows<double>, std::vector<double>&,
                                   const Pass&) const;
template void Gru::backward<float>(const float*, ConstRows<float>, const Sequences&, ConstRows<float>, Rows<float>,
                                   std::vector<float>&, float*, const Pass&) const;
template void Gru::backward<double>(const double*, ConstRows<double>, const Sequences&, ConstRows<double>, Rows<double>,
                                    std::vector<double>&, double*, const Pass&) const;

}  // namespace twotower::nn
