#include "twotower/nn/causal_transformer.hpp"

#include <algorithm>
#include <cstdint>
#include <string>

#include "twotower/base/check.hpp"
#include "twotower/nn/transformer_block.hpp"

namespace twotower::nn {
namespace {

constexpr double kDeviation = 0.02;

std::size_t at(Index index) { return static_cast<std::size_t>(index); }

LayerNorm last_norm(const CausalTransformer& t) { return {t.width}; }

TransformerBlock block_of(const CausalTransformer& t, Index number) {
  return {t.width,
          t.heads,
          t.feed_forward ? t.feed_forward : t.width,
          t.keep_probability,
          t.stream + 1 + 2 * static_cast<std::uint64_t>(number),
          number + 1 == t.blocks};
}

/// Where the parameters start; the vectors of the positions are the first.
struct Starts {
  Index empty, blocks, block_size, norm, size;

  explicit Starts(const CausalTransformer& t)
      : empty(t.max_length * t.width),
        blocks(empty + t.width),
        block_size(block_of(t, 0).parameter_count()),
        norm(blocks + t.blocks * block_size),
        size(norm + last_norm(t).parameter_count()) {}

  Index block(Index number) const { return blocks + number * block_size; }
};

/// What a chunk leaves for backward: each block's, then what goes into the last LayerNorm and what that keeps.
template <class Scalar>
class KeptOfChunk {
 public:
  KeptOfChunk(const CausalTransformer& t, const Chunk& chunk, Scalar* memory)
      : t_(t),
        chunk_(chunk),
        block_size_(size_of_block(t, chunk)),
        shelf_{memory, (t.blocks - 1) * block_size_},
        last_(block_of(t, t.blocks - 1), chunk, shelf_),
        x(shelf_.rows(chunk.readers(), t.width)),
        norm(shelf_.rows(chunk.readers(), 2)) {}

  TransformerBlock::Kept<Scalar> block(Index number) const {
    if (number + 1 == t_.blocks) return last_;
    Shelf<Scalar> shelf{shelf_.begin, number * block_size_};
    return {block_of(t_, number), chunk_, shelf};
  }

  Index size() const { return shelf_.used; }

 private:
  /// Of every block but the last.
  static Index size_of_block(const CausalTransformer& t, const Chunk& chunk) {
    TransformerBlock inner = block_of(t, 0);
    inner.last = false;
    Shelf<Scalar> counting;
    TransformerBlock::Kept<Scalar>(inner, chunk, counting);
    return counting.used;
  }

  const CausalTransformer& t_;
  const Chunk& chunk_;
  Index block_size_;
  Shelf<Scalar> shelf_;
  TransformerBlock::Kept<Scalar> last_;

 public:
  RowMap<Scalar> x, norm;
};

/// A call's memory, all of it in `cache`, from its first cache line on: weights in panels, scratch, what the chunks leave.
template <class Scalar>
class Memory {
 public:
  Memory(const CausalTransformer& t, const Sequences& sequences, std::vector<Scalar>& cache, bool first) : t_(t) {
    for_chunks(sequences, [&](const Chunk& chunk) {
      most_rows_ = std::max({most_rows_, chunk.rows, chunk.readers()});
      attention_size_ = std::max(attention_size_, block_of(t, 0).attention_size(chunk));
      kept_size_ += KeptOfChunk<Scalar>(t, chunk, nullptr).size();
    });
    Shelf<Scalar> counting;
    place(counting);
    const Index wanted = kLine + counting.used + kept_size_;
    if (std::ssize(cache) < wanted) cache.assign(at(wanted), Scalar(0));
    // The first value tells where the first line starts, should the cache have moved since forward.
    if (first) {
      const auto address = reinterpret_cast<std::uintptr_t>(cache.data() + 1);
      cache[0] = static_cast<Scalar>(1 + (64 - address % 64) % 64 / sizeof(Scalar));
    }
    Shelf<Scalar> shelf{cache.data() + static_cast<Index>(cache[0])};
    place(shelf);
  }

  Scalar* kept() const { return kept_; }
  Scalar* gradient() const { return gradient_; }
  const TransformerBlock::Scratch<Scalar>& scratch() const { return scratch_; }

  RowMap<Scalar> rows(Scalar* begin, Index count) const {
    Shelf<Scalar> shelf{begin};
    return shelf.rows(count, t_.width);
  }

  /// The weights of a block, packed now if `parameters` says what they are.
  TransformerBlock::Packed<Scalar> packed(Index block, TransformerBlock::Way way, const Scalar* parameters) const {
    Shelf<Scalar> shelf{packed_ + block * packed_size_};
    return {block_of(t_, block), way, parameters, shelf};
  }

 private:
  static constexpr Index kLine = 17;

  void place(Shelf<Scalar>& shelf) {
    const TransformerBlock block = block_of(t_, 0);
    Shelf<Scalar> counting;
    TransformerBlock::Packed<Scalar>(block, TransformerBlock::Way::kForward, nullptr, counting);
    TransformerBlock::Packed<Scalar>(block, TransformerBlock::Way::kBackward, nullptr, counting);
    packed_size_ = counting.used;
    packed_ = shelf.take(t_.blocks * packed_size_);
    scratch_ = TransformerBlock::Scratch<Scalar>(block, most_rows_, attention_size_, shelf);
    gradient_ = shelf.rows(most_rows_, t_.width).data();
    kept_ = shelf.take(kept_size_);
  }

  const CausalTransformer& t_;
  Index most_rows_ = 0, attention_size_ = 0, kept_size_ = 0, packed_size_ = 0;
  Scalar *packed_ = nullptr, *gradient_ = nullptr, *kept_ = nullptr;
  TransformerBlock::Scratch<Scalar> scratch_{};
};

void check_lengths(const CausalTransformer& t, const Sequences& sequences) {
  for (Index s = 0; s < sequences.count(); ++s) {
    const Index length = sequences.offsets[at(s + 1)] - sequences.offsets[at(s)];
    if (length > t.max_length)
      fail(t.kName, "length of sequence " + std::to_string(s) + " is " + std::to_string(length) + ", but max_length is " +
                        std::to_string(t.max_length) + "; keep the newest elements only, or make max_length larger");
  }
}

}  // namespace

Index CausalTransformer::parameter_count() const { return Starts(*this).size; }

void CausalTransformer::check() const {
  check_at_least(kName, "width", width, 1);
  check_at_least(kName, "heads", heads, 1);
  check_at_least(kName, "blocks", blocks, 1);
  check_at_least(kName, "max_length", max_length, 1);
  check_at_least(kName, "feed_forward", feed_forward, 0);
  check_positive(kName, "keep_probability", keep_probability);
  check_in_range(kName, "keep_probability", keep_probability, 0, 1);
  if (width % heads != 0)
    fail(kName, "heads is " + std::to_string(heads) + ", but must divide width, which is " + std::to_string(width));
  constexpr std::uint64_t kStreams = std::uint64_t{1} << 24;
  const std::uint64_t own = 1 + 2 * static_cast<std::uint64_t>(blocks);
  if (stream >= kStreams || own > kStreams - stream)
    fail(kName, "stream is " + std::to_string(stream) + ", but it and the " + std::to_string(own - 1) +
                    " behind it must be below " + std::to_string(kStreams));
}

template <class Scalar>
void CausalTransformer::initialize(Scalar* parameters, RandomStream& random) const {
  const Starts starts(*this);
  const auto draw = [&](Scalar* values, Index count) {
    for (Index k = 0; k < count; ++k) values[k] = static_cast<Scalar>(kDeviation * random.normal());
  };
  draw(parameters, starts.blocks);
  for (Index b = 0; b < blocks; ++b) block_of(*this, b).initialize(parameters + starts.block(b), kDeviation, random);
  last_norm(*this).initialize(parameters + starts.norm, random);
}

template <class Scalar>
void CausalTransformer::forward(const Scalar* parameters, ConstRows<Scalar> elements, const Sequences& sequences, Rows<Scalar> y,
                                std::vector<Scalar>& cache, const Pass& pass) const {
  check_lengths(*this, sequences);
  const Starts starts(*this);
  const Memory<Scalar> memory(*this, sequences, cache, true);
  constexpr auto kWay = TransformerBlock::Way::kForward;
  for (Index b = 0; b < blocks; ++b) memory.packed(b, kWay, parameters + starts.block(b));
  Scalar* kept_of_chunk = memory.kept();
  for_chunks(sequences, [&](const Chunk& chunk) {
    KeptOfChunk<Scalar> kept(*this, chunk, kept_of_chunk);
    kept_of_chunk += kept.size();
    RowMap<Scalar> x = kept.block(0).x;
    for (const Part& part : chunk.all())
      for (Index j = 0; j < part.count; ++j) {
        const Row code = sequences.codes[at(sequences.offsets[0] + part.position + j)];
        x.row(part.row + j) = elements.row(code) + Eigen::Map<const RowVector<Scalar>>(parameters + j * width, width);
      }
    drop<Scalar>(chunk, false, keep_probability, stream, x, pass);
    for (Index b = 0; b < blocks; ++b) {
      TransformerBlock::Kept<Scalar> kept_of_block = kept.block(b);
      block_of(*this, b).forward<Scalar>(parameters + starts.block(b), memory.packed(b, kWay, nullptr), chunk, kept_of_block,
                                         memory.scratch(), b + 1 == blocks ? kept.x : kept.block(b + 1).x, pass);
    }
    last_norm(*this).forward<Scalar>(parameters + starts.norm, kept.x, y.middleRows(chunk.reader, chunk.readers()), kept.norm,
                                     pass);
    for (Index r = 0; r < chunk.readers(); ++r)
      if (chunk.lengths[at(r)] == 0)
        y.row(chunk.reader + r) = Eigen::Map<const RowVector<Scalar>>(parameters + starts.empty, width);
  });
}

template <class Scalar>
void CausalTransformer::backward(const Scalar* parameters, ConstRows<Scalar>, const Sequences& sequences, ConstRows<Scalar> dy,
                                 Rows<Scalar> dpositions, std::vector<Scalar>& cache, Scalar* dparameters,
                                 const Pass& pass) const {
  const Starts starts(*this);
  const Memory<Scalar> memory(*this, sequences, cache, false);
  constexpr auto kWay = TransformerBlock::Way::kBackward;
  for (Index b = 0; b < blocks; ++b) memory.packed(b, kWay, parameters + starts.block(b));
  const auto gradient_of = [&](Scalar* values) { return Eigen::Map<RowVector<Scalar>>(values, width); };
  Scalar* kept_of_chunk = memory.kept();
  dpositions.setZero();
  for_chunks(sequences, [&](const Chunk& chunk) {
    KeptOfChunk<Scalar> kept(*this, chunk, kept_of_chunk);
    kept_of_chunk += kept.size();
    RowMap<Scalar> dread = memory.rows(memory.scratch().narrow[0], chunk.readers()),
                   d_out = memory.rows(memory.gradient(), chunk.readers()), dx = memory.rows(memory.gradient(), chunk.rows);
    dread = dy.middleRows(chunk.reader, chunk.readers());
    for (Index r = 0; r < chunk.readers(); ++r)
      if (chunk.lengths[at(r)] == 0) {
        gradient_of(dparameters + starts.empty) += dread.row(r);
        dread.row(r).setZero();
      }
    last_norm(*this).backward<Scalar>(parameters + starts.norm, kept.x, kept.norm, dread, d_out, dparameters + starts.norm, pass);
    for (Index b = blocks; b-- > 0;) {
      TransformerBlock::Kept<Scalar> kept_of_block = kept.block(b);
      block_of(*this, b).backward<Scalar>(parameters + starts.block(b), memory.packed(b, kWay, nullptr), chunk, kept_of_block,
                                          memory.scratch(), memory.gradient(), dparameters + starts.block(b), pass);
    }
    drop<Scalar>(chunk, false, keep_probability, stream, dx, pass);
    for (const Part& part : chunk.all())
      for (Index j = 0; j < part.count; ++j) {
        dpositions.row(part.position + j) = dx.row(part.row + j);
        gradient_of(dparameters + j * width) += dx.row(part.row + j);
      }
  });
}

// float trains, double checks gradients.
template void CausalTransformer::initialize<float>(float*, RandomStream&) const;
template void CausalTransformer::initialize<double>(double*, RandomStream&) const;
template void CausalTransformer::forward<float>(const float*, ConstRows<float>, const Sequences&, Rows<float>,
                                                std::vector<float>&, const Pass&) const;
template void CausalTransformer::forward<double>(const double*, ConstRows<double>, const Sequences&, Rows<double>,
                                                 std::vector<double>&, const Pass&) const;
template void CausalTransformer::backward<float>(const float*, ConstRows<float>, const Sequences&, ConstRows<float>, Rows<float>,
                                                 std::vector<float>&, float*, const Pass&) const;
template void CausalTransformer::backward<double>(const double*, ConstRows<double>, const Sequences&, ConstRows<double>,
                                                  Rows<double>, std::vector<double>&, double*, const Pass&) const;

}  // namespace twotower::nn
