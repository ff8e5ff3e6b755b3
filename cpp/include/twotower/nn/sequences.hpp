#pragma once
// Lists of vectors in an order, and the contract of what turns them into one vector a reader: the sequence encoders.
//
//   MeanPool, AttentionPool, Gru, CausalTransformer
//
// An encoder is a plain struct that holds its spec, as a layer is (nn/layer.hpp), with
//
//   width                  of an element and of an output row
//   parameter_count()      values at `parameters` and at `dparameters`
//   check()                throws std::invalid_argument if the spec makes no sense
//   initialize(parameters, random)
//   forward(parameters, elements, sequences, y, cache, pass)
//                          writes y, one row a reader; resizes `cache` as it needs and leaves there what backward wants
//   backward(parameters, elements, sequences, dy, dpositions, cache, dparameters, pass)
//                          writes dpositions (positions, width): the gradient of the element at each position, summed over
//                          its readers; adds to dparameters; may use up the cache
//
// A reader of length m sees the first m elements of its sequence and nothing behind them; one of length 0 gets the learned
// vector `empty`. Both are const, start no thread and allocate nothing but the growth of `cache` and Eigen's large products.
// Outside training a reader's output must be the same bits whatever else is in the call: products run on one sequence at a time,
// filled up to whole tiles of 32 rows, or through nn/ordered_product.hpp, whose bits know no companions. In training a call's
// sequences may share products. pass.first_row is the number of the call's first position in the batch, which keys dropout.
//
// An encoder that sees nothing of its elements but a weighted sum, the weights known beforehand (MeanPool), may say so. Where
// every sequence has one reader, no gradient need be written for every position then:
//
//   weigh(sequences, weights)
//                          writes weights (positions): the reader of a sequence sees p = sum over its positions of weight * x
//   backward_to_sums(parameters, sequences, dy, dsums, cache, dparameters)
//                          as backward, but writes dsums (rows, width), the gradient of p: that of an x is weight * dsum
#include <concepts>
#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "twotower/nn/layer.hpp"

namespace twotower::nn {

/// Some sequences over the rows of a matrix of elements, oldest first, with their readers.
///
/// Shapes      offsets (sequences + 1), from any start: position p of the call is codes[offsets[0] + p]; codes and weights belong
///             to all positions    readers (sequences + 1), from any start: row r of y is reader readers[0] + r    lengths of all
///             readers, each from 0 to the length of its sequence, in any order
/// Requires    codes in [0, rows of the elements); weights finite and not negative, or none at all: 1 each
struct Sequences {
  std::span<const std::int64_t> offsets;
  std::span<const Row> codes;
  std::span<const float> weights;
  std::span<const std::int64_t> readers;
  std::span<const std::int32_t> lengths;

  Index count() const { return std::ssize(offsets) - 1; }
  Index positions() const { return static_cast<Index>(offsets.back() - offsets.front()); }
  Index rows() const { return static_cast<Index>(readers.back() - readers.front()); }

  bool one_reader_each() const {
    for (std::size_t s = 1; s < readers.size(); ++s)
      if (readers[s] - readers[s - 1] != 1) return false;
    return true;
  }

  /// The sequences [first, last); everything stays where it is.
  Sequences part(Index first, Index last) const {
    const auto begin = static_cast<std::size_t>(first), size = static_cast<std::size_t>(last - first + 1);
    return {offsets.subspan(begin, size), codes, weights, readers.subspan(begin, size), lengths};
  }
};

template <class E, class Scalar>
concept SequenceEncoderOn = requires(const E& encoder, const Scalar* parameters, Scalar* dparameters, const Matrix<Scalar>& in,
                                     const Sequences& sequences, Matrix<Scalar>& out, std::vector<Scalar>& cache,
                                     RandomStream& random, const Pass& pass) {
  { E::kName } -> std::convertible_to<std::string_view>;
  { encoder.width } -> std::convertible_to<Index>;
  { encoder.parameter_count() } -> std::same_as<Index>;
  encoder.check();
  encoder.template initialize<Scalar>(dparameters, random);
  encoder.template forward<Scalar>(parameters, in, sequences, out, cache, pass);
  encoder.template backward<Scalar>(parameters, in, sequences, in, out, cache, dparameters, pass);
};

/// The contract above as the compiler can see it.
template <class E>
concept IsSequenceEncoder = SequenceEncoderOn<E, float> && SequenceEncoderOn<E, double>;

/// An encoder that sees a weighted sum of its elements.
template <class E>
concept SeesWeightedSum =
    IsSequenceEncoder<E> &&
    requires(const E& encoder, const Sequences& sequences, std::span<float> weights, const double* parameters,
             const Matrix<double>& dy, Matrix<double>& dsums, std::vector<double>& cache, double* dparameters) {
      encoder.weigh(sequences, weights);
      encoder.template backward_to_sums<double>(parameters, sequences, dy, dsums, cache, dparameters);
    };

}  // namespace twotower::nn
