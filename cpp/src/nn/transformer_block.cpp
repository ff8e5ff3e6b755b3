#include "twotower/nn/transformer_block.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "twotower/nn/causal_attention.hpp"
#include "twotower/nn/ordered_product.hpp"

namespace twotower::nn {
namespace {

constexpr Index kChunkRows = 256;
constexpr unsigned kStreamBits = 40;  // as in Dropout, whose numbers of streams these share

std::size_t at(Index index) { return static_cast<std::size_t>(index); }

/// Where the parameters of the layers start.
struct Starts {
  Index norm = 0;
  std::array<Index, 5> dense;  // in the order of dense_layers
  Index second_norm, size;

  explicit Starts(const TransformerBlock& b);
};

std::array<Dense, 5> dense_layers(const TransformerBlock& b) { return {b.query(), b.key_value(), b.output(), b.up(), b.down()}; }
enum { kQuery, kKeyValue, kOutput, kUp, kDown };

Starts::Starts(const TransformerBlock& b) {
  const auto layers = dense_layers(b);
  Index next = b.norm().parameter_count();
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (i == kUp) second_norm = std::exchange(next, next + b.norm().parameter_count());
    dense[i] = std::exchange(next, next + layers[i].parameter_count());
  }
  size = next;
}

template <class Scalar>
RowMap<Scalar> view(Scalar* begin, Index rows, Index width) {
  Shelf<Scalar> shelf{begin};
  return shelf.rows(rows, width);
}

/// y = x w + b, or x w^T where the way is back.
template <class Scalar>
void product(const TransformerBlock::Packed<Scalar>& packed, std::size_t layer, ConstRows<Scalar> x, Rows<Scalar> y) {
  ordered_product<Scalar>(x.data(), x.outerStride(), 1, x.rows(), packed.weights[layer], x.cols(), 0, x.cols(), y.cols(),
                          y.data(), y.outerStride(), packed.biases[layer]);
}

/// dw += x^T dy, db += the sum of dy's rows.
template <class Scalar>
void add_gradient(ConstRows<Scalar> x, ConstRows<Scalar> dy, Scalar* dparameters) {
  Eigen::Map<Matrix<Scalar>>(dparameters, x.cols(), dy.cols()).noalias() += x.transpose() * dy;
  Eigen::Map<RowVector<Scalar>> db(dparameters + x.cols() * dy.cols(), dy.cols());
  for (Index row = 0; row < dy.rows(); ++row) db += dy.row(row);
}

/// What LayerNorm put out, from what it kept.
template <class Scalar>
void normalize_again(Index width, const Scalar* parameters, ConstRows<Scalar> x, ConstRows<Scalar> kept, Rows<Scalar> y) {
  const Eigen::Map<const RowVector<Scalar>> gain(parameters, width), bias(parameters + width, width);
  for (Index row = 0; row < x.rows(); ++row)
    y.row(row) = ((x.row(row).array() - kept(row, 0)) * kept(row, 1) * gain.array() + bias.array()).matrix();
}

/// Calls body(part, reader, the reader's row in the chunk, its length) for every reader of the chunk.
template <class Body>
void for_readers(const Chunk& chunk, const Body& body) {
  for (const Part& part : chunk.all())
    for (Index r = part.reader; r < part.reader + part.readers; ++r) body(part, r, chunk.lengths[at(r)]);
}

/// Rows of positions to rows of readers; a reader of nothing gets zeros.
template <class Scalar>
void gather(const Chunk& chunk, ConstRows<Scalar> x, Rows<Scalar> y) {
  for_readers(chunk, [&](const Part& part, Index reader, Index length) {
    if (length == 0)
      y.row(reader).setZero();
    else
      y.row(reader) = x.row(part.row + length - 1);
  });
}

template <class Scalar>
void scatter_add(const Chunk& chunk, ConstRows<Scalar> dy, Rows<Scalar> dx) {
  for_readers(chunk, [&](const Part& part, Index reader, Index length) {
    if (length > 0) dx.row(part.row + length - 1) += dy.row(reader);
  });
}

/// Calls body(attention, part, first row out, rows out, head, its first column) for every part and head.
template <class Scalar, class Body>
void for_heads(const TransformerBlock& block, const Chunk& chunk, const Body& body) {
  const Index width = block.width / block.heads;
  for (const Part& part : chunk.all()) {
    CausalAttention<Scalar> attention{width, {}};
    if (block.last) attention.lengths = chunk.lengths.subspan(at(part.reader), at(part.readers));
    const Index first = block.last ? part.reader : part.row, rows = block.last ? part.readers : part.count;
    if (rows == 0) continue;
    for (Index head = 0; head < block.heads; ++head) body(attention, part, first, rows, head, head * width);
  }
}

}  // namespace

Chunk::Chunk(const Sequences& sequences, Index first) : reader(sequences.readers[at(first)] - sequences.readers[0]), next(first) {
  Index count_of_readers = 0;
  for (; next < sequences.count() && size < parts.size(); ++next) {
    const Index begin = sequences.readers[at(next)], more = sequences.readers[at(next + 1)] - begin;
    if (more == 0) continue;
    const auto its = sequences.lengths.subspan(at(begin), at(more));
    const Index count = *std::max_element(its.begin(), its.end());
    if (size > 0 && std::max(rows + count, count_of_readers + more) > kChunkRows) break;
    parts[size++] = {sequences.offsets[at(next)] - sequences.offsets[0], count, rows, count_of_readers, more};
    rows += count;
    count_of_readers += more;
  }
  lengths = sequences.lengths.subspan(at(sequences.readers[at(first)]), at(count_of_readers));
}

template <class Scalar>
void drop(const Chunk& chunk, bool of_readers, double keep_probability, std::uint64_t stream, Rows<Scalar> x, const Pass& pass) {
  const auto kept_below = static_cast<std::int32_t>(std::max(1LL, std::llround(keep_probability * 0x1.0p16)));
  if (!pass.training || kept_below == 1 << 16) return;
  const Scalar scale = Scalar(0x1.0p16) / static_cast<Scalar>(kept_below);
  const auto drop_row = [&](Index row, Index position) {
    const auto key = static_cast<std::uint64_t>(pass.first_row + position) | stream << kStreamBits;
    RandomStream random(pass.seed, Purpose::kDropout, pass.step, key);
    constexpr Index kDraws = 16, kColumns = 4 * kDraws;  // a draw serves four values
    std::array<std::uint64_t, kDraws> draws;
    for (Index first = 0; first < x.cols(); first += kColumns) {
      for (std::uint64_t& draw : draws) draw = random.next();
      const auto quarters = std::bit_cast<std::array<std::uint16_t, kColumns>>(draws);
      Scalar* values = x.row(row).data() + first;
      const Index count = std::min(kColumns, x.cols() - first);
      for (Index k = 0; k < count; ++k) values[k] *= quarters[at(k)] < kept_below ? scale : Scalar(0);
    }
  };
  if (of_readers)
    for_readers(chunk, [&](const Part& part, Index reader, Index length) {
      if (length > 0) drop_row(reader, part.position + length - 1);
    });
  else
    for (const Part& part : chunk.all())
      for (Index j = 0; j < part.count; ++j) drop_row(part.row + j, part.position + j);
}

Index TransformerBlock::parameter_count() const { return Starts(*this).size; }

template <class Scalar>
void TransformerBlock::initialize(Scalar* parameters, double deviation, RandomStream& random) const {
  const Starts starts(*this);
  const auto layers = dense_layers(*this);
  norm().initialize(parameters + starts.norm, random);
  norm().initialize(parameters + starts.second_norm, random);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    Scalar* weights = parameters + starts.dense[i];
    const Index count = layers[i].in * layers[i].out;
    for (Index k = 0; k < count; ++k) weights[k] = static_cast<Scalar>(deviation * random.normal());
    std::fill_n(weights + count, layers[i].out, Scalar(0));
  }
}

Index TransformerBlock::attention_size(const Chunk& chunk) const {
  Index size = 0;
  for (const Part& part : chunk.all())
    size = std::max(size, CausalAttention<double>::scratch_size(std::max(part.count, part.readers), part.count, width / heads));
  return size;
}

template <class Scalar>
TransformerBlock::Kept<Scalar>::Kept(const TransformerBlock& block, const Chunk& chunk, Shelf<Scalar>& shelf)
    : x(shelf.rows(chunk.rows, block.width)),
      norm(shelf.rows(chunk.rows, 2)),
      key_value(shelf.rows(chunk.rows, 2 * block.width)),
      read(block.last ? shelf.rows(chunk.readers(), block.width) : x),
      query(shelf.rows(read.rows(), block.width)),
      attended(shelf.rows(read.rows(), block.width)),
      log_sums(shelf.rows(read.rows(), block.heads)),
      middle(shelf.rows(read.rows(), block.width)),
      middle_norm(shelf.rows(read.rows(), 2)),
      up(shelf.rows(read.rows(), block.feed_forward)),
      tanh(shelf.rows(read.rows(), block.feed_forward)) {}

template <class Scalar>
TransformerBlock::Scratch<Scalar>::Scratch(const TransformerBlock& block, Index rows, Index attention_size,
                                           Shelf<Scalar>& shelf) {
  for (Scalar*& memory : narrow) memory = shelf.rows(rows, block.width).data();
  for (Scalar*& memory : wide) memory = shelf.rows(rows, block.feed_forward).data();
  pair = shelf.rows(rows, 2 * block.width).data();
  attention = shelf.take(attention_size);
}

template <class Scalar>
TransformerBlock::Packed<Scalar>::Packed(const TransformerBlock& block, Way way, const Scalar* parameters, Shelf<Scalar>& shelf) {
  const Starts starts(block);
  const auto layers = dense_layers(block);
  for (std::size_t i = 0; i < layers.size(); ++i) {
    const auto [in, out] = std::pair(layers[i].in, layers[i].out);
    const Scalar* from = parameters ? parameters + starts.dense[i] : nullptr;
    weights[i] = shelf.take(way == Way::kForward ? packed_size(in, out) : packed_size(out, in));
    biases[i] = way == Way::kForward ? shelf.take(in_panels(out)) : nullptr;
    if (!parameters) continue;
    if (way == Way::kForward) {
      pack(from, out, 1, in, out, weights[i]);
      std::fill(std::copy_n(from + in * out, out, biases[i]), biases[i] + in_panels(out), Scalar(0));
    } else {
      pack(from, 1, out, out, in, weights[i]);
    }
  }
}

template <class Scalar>
void TransformerBlock::forward(const Scalar* parameters, const Packed<Scalar>& packed, const Chunk& chunk, Kept<Scalar>& kept,
                               const Scratch<Scalar>& scratch, Rows<Scalar> y, const Pass& pass) const {
  const Starts starts(*this);
  const Index rows = rows_out(chunk);
  RowMap<Scalar> normed = view(scratch.narrow[0], chunk.rows, width), normed_read = view(scratch.narrow[1], rows, width);
  norm().template forward<Scalar>(parameters + starts.norm, kept.x, normed, kept.norm, pass);
  product<Scalar>(packed, kKeyValue, normed, kept.key_value);
  if (last) {
    gather<Scalar>(chunk, kept.x, kept.read);
    gather<Scalar>(chunk, normed, normed_read);
  }
  product<Scalar>(packed, kQuery, last ? normed_read : normed, kept.query);
  for_heads<Scalar>(
      *this, chunk, [&](const auto& attention, const Part& part, Index first, Index count, Index head, Index column) {
        const auto of_head = [&](auto& map, Index row, Index n, Index from) { return map.block(row, from, n, attention.width); };
        attention.forward(of_head(kept.query, first, count, column), of_head(kept.key_value, part.row, part.count, column),
                          of_head(kept.key_value, part.row, part.count, width + column),
                          of_head(kept.attended, first, count, column), &kept.log_sums(first, head), kept.log_sums.outerStride(),
                          scratch.attention);
      });
  RowMap<Scalar> change = view(scratch.narrow[1], rows, width), wide = view(scratch.wide[0], rows, feed_forward);
  product<Scalar>(packed, kOutput, kept.attended, change);
  drop<Scalar>(chunk, last, keep_probability, stream, change, pass);
  kept.middle = kept.read + change;

  RowMap<Scalar> normed_middle = view(scratch.narrow[0], rows, width);
  norm().template forward<Scalar>(parameters + starts.second_norm, kept.middle, normed_middle, kept.middle_norm, pass);
  product<Scalar>(packed, kUp, normed_middle, kept.up);
  gelu().template forward<Scalar>(nullptr, kept.up, wide, kept.tanh, pass);
  product<Scalar>(packed, kDown, wide, change);
  drop<Scalar>(chunk, last, keep_probability, stream + 1, change, pass);
  y = kept.middle + change;
}

// What forward did not keep (what LayerNorm and Gelu put out) is computed once more: it costs less than memory does.
template <class Scalar>
void TransformerBlock::backward(const Scalar* parameters, const Packed<Scalar>& packed, const Chunk& chunk, Kept<Scalar>& kept,
                                const Scratch<Scalar>& scratch, Scalar* d, Scalar* dparameters, const Pass& pass) const {
  const Starts starts(*this);
  const Index rows = rows_out(chunk);
  RowMap<Scalar> dy = view(d, rows, width), change = view(scratch.narrow[0], rows, width),
                 other = view(scratch.narrow[1], rows, width), wide = view(scratch.wide[0], rows, feed_forward),
                 dwide = view(scratch.wide[1], rows, feed_forward);
  change = dy;
  drop<Scalar>(chunk, last, keep_probability, stream + 1, change, pass);
  wide = (Scalar(0.5) * kept.up.array() * (1 + kept.tanh.array())).matrix();
  add_gradient<Scalar>(wide, change, dparameters + starts.dense[kDown]);
  product<Scalar>(packed, kDown, change, dwide);
  gelu().template backward<Scalar>(nullptr, kept.up, kept.tanh, dwide, wide, nullptr, pass);
  normalize_again<Scalar>(width, parameters + starts.second_norm, kept.middle, kept.middle_norm, other);
  add_gradient<Scalar>(other, wide, dparameters + starts.dense[kUp]);
  product<Scalar>(packed, kUp, wide, change);
  norm().template backward<Scalar>(parameters + starts.second_norm, kept.middle, kept.middle_norm, change, other,
                                   dparameters + starts.second_norm, pass);
  dy += other;  // that of `middle` from here on

  change = dy;
  drop<Scalar>(chunk, last, keep_probability, stream, change, pass);
  add_gradient<Scalar>(kept.attended, change, dparameters + starts.dense[kOutput]);
  product<Scalar>(packed, kOutput, change, other);
  RowMap<Scalar> dquery = change, dkey_value = view(scratch.pair, chunk.rows, 2 * width);
  for_heads<Scalar>(
      *this, chunk, [&](const auto& attention, const Part& part, Index first, Index count, Index head, Index column) {
        const auto of_head = [&](auto& map, Index row, Index n, Index from) { return map.block(row, from, n, attention.width); };
        attention.backward(of_head(kept.query, first, count, column), of_head(kept.key_value, part.row, part.count, column),
                           of_head(kept.key_value, part.row, part.count, width + column),
                           of_head(kept.attended, first, count, column), &kept.log_sums(first, head), kept.log_sums.outerStride(),
                           of_head(other, first, count, column), of_head(dquery, first, count, column),
                           of_head(dkey_value, part.row, part.count, column),
                           of_head(dkey_value, part.row, part.count, width + column), scratch.attention);
      });

  RowMap<Scalar> normed = view(scratch.narrow[2], chunk.rows, width), dnormed = view(scratch.narrow[3], chunk.rows, width);
  normalize_again<Scalar>(width, parameters + starts.norm, kept.x, kept.norm, normed);
  add_gradient<Scalar>(normed, dkey_value, dparameters + starts.dense[kKeyValue]);
  product<Scalar>(packed, kKeyValue, dkey_value, dnormed);
  if (last) gather<Scalar>(chunk, normed, other);
  add_gradient<Scalar>(last ? other : normed, dquery, dparameters + starts.dense[kQuery]);
  product<Scalar>(packed, kQuery, dquery, other);
  if (last)
    scatter_add<Scalar>(chunk, other, dnormed);
  else
    dnormed += other;
  norm().template backward<Scalar>(parameters + starts.norm, kept.x, kept.norm, dnormed, normed, dparameters + starts.norm, pass);
  if (last) {
    scatter_add<Scalar>(chunk, dy, normed);
    view(d, chunk.rows, width) = normed;
  } else {
    dy += normed;
  }
}

// float trains, double checks gradients.
#define TWOTOWER_INSTANTIATE(Scalar)                                                                                  \
  template void drop<Scalar>(const Chunk&, bool, double, std::uint64_t, Rows<Scalar>, const Pass&);                   \
  template void TransformerBlock::initialize<Scalar>(Scalar*, double, RandomStream&) const;                           \
  template struct TransformerBlock::Kept<Scalar>;                                                                     \
  template struct TransformerBlock::Scratch<Scalar>;                                                                  \
  template struct TransformerBlock::Packed<Scalar>;                                                                   \
  template void TransformerBlock::forward<Scalar>(const Scalar*, const Packed<Scalar>&, const Chunk&, Kept<Scalar>&,  \
                                                  const Scratch<Scalar>&, Rows<Scalar>, const Pass&) const;           \
  template void TransformerBlock::backward<Scalar>(const Scalar*, const Packed<Scalar>&, const Chunk&, Kept<Scalar>&, \
                                                   const Scratch<Scalar>&, Scalar*, Scalar*, const Pass&) const;
TWOTOWER_INSTANTIATE(float)
TWOTOWER_INSTANTIATE(double)
#undef TWOTOWER_INSTANTIATE

}  // namespace twotower::nn
