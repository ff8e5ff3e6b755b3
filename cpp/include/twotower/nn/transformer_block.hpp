#pragma once
// One block of CausalTransformer, and the form in which it takes sequences: some of them at once, so that they share products.
#include <array>
#include <cstdint>
#include <span>

#include "twotower/nn/activations.hpp"
#include "twotower/nn/dense.hpp"
#include "twotower/nn/normalization.hpp"
#include "twotower/nn/sequences.hpp"

namespace twotower::nn {

/// What of one sequence takes part: the positions that some reader sees, and the readers.
struct Part {
  Index position;  ///< in the call, of the first
  Index count;     ///< positions
  Index row;       ///< in the chunk, of the first position
  Index reader;    ///< in the chunk, the first
  Index readers;
};

/// Whole sequences whose rows go through the products together: about 256 rows, which stay in a second-level cache from one
/// product to the next, or one longer sequence. Sequences without readers are left out.
struct Chunk {
  std::array<Part, 64> parts;
  std::size_t size = 0;
  Index rows = 0;                         ///< one a position
  Index reader = 0;                       ///< in the call, the first
  std::span<const std::int32_t> lengths;  ///< of its readers
  Index next = 0;                         ///< sequence behind the chunk

  /// The chunk that starts with sequence `first`.
  Chunk(const Sequences& sequences, Index first);

  std::span<const Part> all() const { return {parts.data(), size}; }
  Index readers() const { return std::ssize(lengths); }
};

/// Calls body(chunk) for all chunks, in order.
template <class Body>
void for_chunks(const Sequences& sequences, const Body& body) {
  for (Index first = 0; first < sequences.count();) {
    const Chunk chunk(sequences, first);
    body(chunk);
    first = chunk.next;
  }
}

/// Hands out memory in whole cache lines, or, from nowhere, only counts it.
template <class Scalar>
struct Shelf {
  Scalar* begin = nullptr;
  Index used = 0;

  Scalar* take(Index size) {
    Scalar* start = begin ? begin + used : nullptr;
    used += (size + 15) / 16 * 16;
    return start;
  }

  RowMap<Scalar> rows(Index count, Index width) {
    const Index step = (width + 15) / 16 * 16;
    return RowMap<Scalar>(take(count * step), count, width, Eigen::OuterStride<>(step));
  }
};

/// x (rows, width) becomes y (rows, width) in two steps, h = x + dropout(output(attention(LayerNorm(x)))), then
/// y = h + dropout(down(gelu(up(LayerNorm(h))))). The last block of a transformer has a row of y for every reader, the others for
/// every position.
///
/// Dropout     streams `stream` and stream + 1
struct TransformerBlock {
  Index width;
  Index heads;
  Index feed_forward;
  double keep_probability;
  std::uint64_t stream;
  bool last;

  LayerNorm norm() const { return {width}; }
  Gelu gelu() const { return {feed_forward}; }
  Dense query() const { return {width, width}; }
  Dense key_value() const { return {width, 2 * width}; }
  Dense output() const { return {width, width}; }
  Dense up() const { return {width, feed_forward}; }
  Dense down() const { return {feed_forward, width}; }
  Index parameter_count() const;

  /// Gains 1, biases 0, weights normal.
  template <class Scalar>
  void initialize(Scalar* parameters, double deviation, RandomStream& random) const;

  /// Rows of y.
  Index rows_out(const Chunk& chunk) const { return last ? chunk.readers() : chunk.rows; }

  /// What forward leaves for backward; x is written by the caller.
  template <class Scalar>
  struct Kept {
    RowMap<Scalar> x, norm, key_value, read, query, attended, log_sums, middle, middle_norm, up, tanh;
    Kept(const TransformerBlock& block, const Chunk& chunk, Shelf<Scalar>& shelf);
  };

  /// What a call of forward or backward needs for itself; room for the largest chunk serves all.
  template <class Scalar>
  struct Scratch {
    std::array<Scalar*, 4> narrow{};
    std::array<Scalar*, 2> wide{};
    Scalar *pair = nullptr, *attention = nullptr;
    Scratch() = default;
    Scratch(const TransformerBlock& block, Index rows, Index attention_size, Shelf<Scalar>& shelf);
  };

  /// The weights, cut into panels for one of the two ways; where `parameters` is null, those that lie on the shelf already.
  enum class Way { kForward, kBackward };
  template <class Scalar>
  struct Packed {
    std::array<Scalar*, 5> weights, biases;
    Packed(const TransformerBlock& block, Way way, const Scalar* parameters, Shelf<Scalar>& shelf);
  };

  /// Scratch for attention that every part of the chunk can do with.
  Index attention_size(const Chunk& chunk) const;

  /// Writes kept and y.
  template <class Scalar>
  void forward(const Scalar* parameters, const Packed<Scalar>& packed, const Chunk& chunk, Kept<Scalar>& kept,
               const Scratch<Scalar>& scratch, Rows<Scalar> y, const Pass& pass) const;

  /// Turns dy into dx, both where d begins, rows as they lie on a shelf; adds to dparameters.
  template <class Scalar>
  void backward(const Scalar* parameters, const Packed<Scalar>& packed, const Chunk& chunk, Kept<Scalar>& kept,
                const Scratch<Scalar>& scratch, Scalar* d, Scalar* dparameters, const Pass& pass) const;
};

/// Multiplies the chunk's rows by their masks: one row a reader, or one a position. Nothing happens outside training.
template <class Scalar>
void drop(const Chunk& chunk, bool of_readers, double keep_probability, std::uint64_t stream, Rows<Scalar> x, const Pass& pass);

}  // namespace twotower::nn
