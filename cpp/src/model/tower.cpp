#include "twotower/model/tower.hpp"

#include <algorithm>
#include <string>

#include "twotower/base/check.hpp"

namespace twotower::model {
namespace {

constexpr const char* kName = "Tower";
constexpr Index kTile = 32;
constexpr Index kEncodedAtOnce = 8192;  // rows whose activations are in memory together

Index padded(Index width) { return (width + 15) / 16 * 16; }

std::span<const Row> part_of(std::span<const Row> rows, Index begin, Index size) {
  return rows.empty() ? rows : rows.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(size));
}

}  // namespace

Tower::Tower(TowerSpec spec, Index arena_begin)
    : arena_begin_(arena_begin), inputs_(std::move(spec.inputs), spec.join, arena_begin), layers_(std::move(spec.layers)) {
  Index width = inputs_.width(), arena = layers_arena() + layers_.parameter_count();
  for (SequenceSpec& sequence : spec.sequences) {
    const SequenceInput& made = sequences_.emplace_back(std::move(sequence), arena);
    arena += made.parameter_count();
    sequence_begin_.push_back(spec.join == Join::kSum ? 0 : width);
    if (spec.join == Join::kSum)
      check_size(kName, "width of a sequence", made.width(), "width of the inputs", width);
    else
      width += made.width();
  }
  check_size(kName, spec.join == Join::kSum ? "width of an input" : "width of all inputs", width, "width of the first layer",
             joined_width());
  parameter_count_ = arena - arena_begin;
}

Index Tower::gradient_begin() const { return padded(joined_width()); }
Index Tower::layers_begin() const { return 2 * padded(joined_width()); }

bool Tower::reads_history() const {
  return std::any_of(sequences_.begin(), sequences_.end(), [](const SequenceInput& s) { return s.reads_history(); });
}

template <class Scalar>
void Tower::check(const SideData& data, const nn::Parameters<Scalar>& parameters) const {
  check_at_least(kName, "size of the arena", std::ssize(parameters.arena), arena_begin_ + parameter_count_);
  inputs_.check(kName, data.tables(), parameters);
  check_size(kName, "number of element tables", std::ssize(data.elements), "number of sequences", std::ssize(sequences_));
  for (std::size_t s = 0; s < sequences_.size(); ++s) sequences_[s].check(kName, *data.entities, *data.elements[s], parameters);
}

template <class Scalar>
void Tower::initialize(nn::Parameters<Scalar>& parameters, std::uint64_t seed, std::uint64_t side) const {
  // Tables are keyed from 0 up; the arena's streams lie far above them.
  RandomStream stream(seed, Purpose::kInitialize, (std::uint64_t{1} << 32) + side);
  inputs_.initialize(parameters, stream);
  layers_.initialize(parameters.arena.data() + layers_arena(), stream);
  for (const SequenceInput& sequence : sequences_) sequence.initialize(parameters, stream);
}

template <class Scalar>
void Tower::prepare(const SideData& data, const TowerRows& rows, const nn::Pass& pass, TowerScratch<Scalar>& scratch) const {
  const Index n = std::ssize(rows.entities);
  scratch.y.resize(n, out_width());
  scratch.dy.resize(pass.training ? n : 0, out_width());
  scratch.cache.resize(n, layers_begin() + layers_.cache_width());
  inputs_.prepare(data.tables(), rows.table_rows(), pass, scratch.inputs);
  scratch.sequences.resize(sequences_.size());
  for (std::size_t s = 0; s < sequences_.size(); ++s)
    sequences_[s].prepare(*data.entities, *data.elements[s], rows.entities, rows.histories,
                          sequences_[s].reads_history() ? rows.trainable_elements : std::span<const std::uint8_t>{}, pass,
                          scratch.sequences[s]);
}

template <class Scalar>
void Tower::add_sources(Index table, const TowerScratch<Scalar>& scratch,
                        std::vector<typename nn::RowGradients<Scalar>::Source>& sources) const {
  inputs_.add_sources<Scalar>(
      table, scratch.inputs,
      {scratch.cache.data() + gradient_begin(), scratch.cache.rows(), joined_width(), Eigen::OuterStride<>(scratch.cache.cols())},
      sources);
  for (std::size_t s = 0; s < sequences_.size(); ++s) sequences_[s].add_sources(table, scratch.sequences[s], sources);
}

template <class Scalar>
void Tower::read_sequences(const nn::Parameters<Scalar>& parameters, const SideData& data, const TowerRows& rows,
                           TowerScratch<Scalar>& scratch, const nn::Pass& pass, const Threads& threads) const {
  for (std::size_t s = 0; s < sequences_.size(); ++s)
    sequences_[s].forward(parameters, *data.elements[s], rows.histories, scratch.sequences[s], pass, threads);
}

template <class Scalar>
void Tower::join_block(const nn::Parameters<Scalar>& parameters, const SideData& data, const TowerRows& rows,
                       const TowerScratch<Scalar>& scratch, Index begin, Rows<Scalar> joined) const {
  joined.setZero();
  inputs_.forward<Scalar>(parameters, data.tables(), rows.table_rows(), scratch.inputs, begin, joined.leftCols(inputs_.width()));
  for (std::size_t s = 0; s < sequences_.size(); ++s)
    joined.middleCols(sequence_begin_[s], sequences_[s].width()) += scratch.sequences[s].y.middleRows(begin, joined.rows());
}

template <class Scalar>
void Tower::forward(const nn::Parameters<Scalar>& parameters, const SideData& data, const TowerRows& rows,
                    TowerScratch<Scalar>& scratch, const nn::Pass& pass, const Threads& threads) const {
  read_sequences(parameters, data, rows, scratch, pass, threads);
  threads.for_blocks(std::ssize(rows.entities), kBlock, [&](Index begin, Index end, Index) {
    nn::Pass block = pass;
    block.first_row = begin;
    auto cache = scratch.cache.middleRows(begin, end - begin);
    Rows<Scalar> joined = cache.leftCols(joined_width());
    join_block<Scalar>(parameters, data, rows, scratch, begin, joined);
    layers_.template forward<Scalar>(parameters.arena.data() + layers_arena(), joined, scratch.y.middleRows(begin, end - begin),
                                     cache.rightCols(layers_.cache_width()), block);
  });
}

template <class Scalar>
void Tower::backward(const nn::Parameters<Scalar>& parameters, const SideData& data, const TowerRows& rows,
                     TowerScratch<Scalar>& scratch, std::span<Scalar> darena, const nn::Pass& pass,
                     const Threads& threads) const {
  const Index n = std::ssize(rows.entities), blocks = (n + kBlock - 1) / kBlock;
  const Index blocks_a_group = std::max<Index>(1, (blocks + kGroups - 1) / kGroups);
  const Index groups = (blocks + blocks_a_group - 1) / blocks_a_group, own = blocks_parameter_count();
  scratch.arenas.resize(std::max(scratch.arenas.size(), static_cast<std::size_t>(groups)));
  threads.for_blocks(blocks, blocks_a_group, [&](Index first, Index last, Index group) {
    auto& arena = scratch.arenas[static_cast<std::size_t>(group)];
    arena.assign(own == 0 ? 0 : darena.size(), Scalar{0});
    // A tower without parameters writes none, but adds its offset to the pointer all the same.
    Scalar* const sums = own == 0 ? darena.data() : arena.data();
    for (Index b = first; b < last; ++b) {
      const Index begin = b * kBlock, size = std::min(kBlock, n - begin);
      nn::Pass block = pass;
      block.first_row = begin;
      auto cache = scratch.cache.middleRows(begin, size);
      Rows<Scalar> djoined = cache.middleCols(gradient_begin(), joined_width());
      layers_.template backward<Scalar>(parameters.arena.data() + layers_arena(), cache.leftCols(joined_width()),
                                        cache.rightCols(layers_.cache_width()), scratch.dy.middleRows(begin, size), djoined,
                                        sums + layers_arena(), block);
      inputs_.backward<Scalar>(data.tables(), rows.table_rows(), begin, djoined.leftCols(inputs_.width()), sums);
    }
  });
  for (std::size_t s = 0; s < sequences_.size(); ++s)
    sequences_[s].template backward<Scalar>(
        parameters, *data.elements[s], rows.histories,
        scratch.cache.middleCols(gradient_begin() + sequence_begin_[s], sequences_[s].width()), scratch.sequences[s], darena,
        pass, threads);
  if (own == 0 || groups == 0) return;
  std::vector<Scalar*> parts;
  parts.reserve(static_cast<std::size_t>(groups));
  for (Index g = 0; g < groups; ++g) parts.push_back(scratch.arenas[static_cast<std::size_t>(g)].data() + arena_begin_);
  tree_sum<Scalar>(parts, own);
  for (Index k = 0; k < own; ++k) darena[static_cast<std::size_t>(arena_begin_ + k)] += parts[0][k];
}

template <class Scalar>
void Tower::encode(const nn::Parameters<Scalar>& parameters, const SideData& data, const TowerRows& rows, Rows<Scalar> y,
                   const Threads& threads) const {
  const Index n = std::ssize(rows.entities);
  check(data, parameters);
  check_rows(kName, "rows", rows.entities, data.entities->rows());
  if (data.contexts) {
    check_size(kName, "number of context rows", std::ssize(rows.contexts), "number of rows", n);
    check_rows(kName, "context rows", rows.contexts, data.contexts->rows());
  }
  if (reads_history())
    check_size(kName, "number of histories", rows.histories ? std::ssize(rows.histories->lengths) : 0, "number of rows", n);
  check_size(kName, "rows of y", y.rows(), "number of rows", n);
  check_size(kName, "width of y", y.cols(), "out_width", out_width());
  TowerScratch<Scalar> scratch;
  data::Histories histories;
  for (Index begin = 0; begin < n; begin += kEncodedAtOnce) {
    const Index size = std::min(kEncodedAtOnce, n - begin);
    TowerRows part(part_of(rows.entities, begin, size), part_of(rows.contexts, begin, size));
    if (rows.histories) {
      histories.assign_part(*rows.histories, begin, size);
      part.histories = &histories;
    }
    encode_some<Scalar>(parameters, data, part, scratch, y.middleRows(begin, size), threads);
  }
}

// A matrix product takes other paths, and gives other last bits, for a few rows than for many: rows are filled up to whole tiles,
// so that an entity's vector does not depend on its companions.
template <class Scalar>
void Tower::encode_some(const nn::Parameters<Scalar>& parameters, const SideData& data, const TowerRows& rows,
                        TowerScratch<Scalar>& scratch, Rows<Scalar> y, const Threads& threads) const {
  const auto filled = static_cast<std::size_t>((y.rows() + kTile - 1) / kTile * kTile);
  std::vector<Row> entities(rows.entities.begin(), rows.entities.end()), contexts(rows.contexts.begin(), rows.contexts.end());
  entities.resize(filled, entities.back());
  if (!contexts.empty()) contexts.resize(filled, contexts.back());
  const TowerRows whole(entities, contexts, rows.histories);
  prepare(data, whole, nn::Pass{}, scratch);
  forward(parameters, data, whole, scratch, nn::Pass{}, threads);
  y = scratch.y.topRows(y.rows());
}

template <class Scalar>
Matrix<Scalar> Tower::parts(const nn::Parameters<Scalar>& parameters, const SideData& data, const TowerRows& row) const {
  TowerScratch<Scalar> scratch;
  prepare(data, row, nn::Pass{}, scratch);
  read_sequences(parameters, data, row, scratch, nn::Pass{}, Threads(1));
  const auto inputs = static_cast<Index>(inputs_.list().size());
  Matrix<Scalar> made = Matrix<Scalar>::Zero(inputs + std::ssize(sequences_), joined_width());
  for (Index part = 0; part < inputs; ++part)
    inputs_.forward_one<Scalar>(static_cast<std::size_t>(part), parameters, data.tables(), row.table_rows(), scratch.inputs, 0,
                                made.block(part, 0, 1, inputs_.width()));
  for (std::size_t s = 0; s < sequences_.size(); ++s)
    made.block(inputs + static_cast<Index>(s), sequence_begin_[s], 1, sequences_[s].width()) = scratch.sequences[s].y.row(0);
  return made;
}

#define TWOTOWER_INSTANTIATE(Scalar)                                                                                          \
  template void Tower::check(const SideData&, const nn::Parameters<Scalar>&) const;                                           \
  template void Tower::initialize(nn::Parameters<Scalar>&, std::uint64_t, std::uint64_t) const;                               \
  template void Tower::prepare(const SideData&, const TowerRows&, const nn::Pass&, TowerScratch<Scalar>&) const;              \
  template void Tower::add_sources(Index, const TowerScratch<Scalar>&, std::vector<nn::RowGradients<Scalar>::Source>&) const; \
  template void Tower::forward(const nn::Parameters<Scalar>&, const SideData&, const TowerRows&, TowerScratch<Scalar>&,       \
                               const nn::Pass&, const Threads&) const;                                                        \
  template void Tower::backward(const nn::Parameters<Scalar>&, const SideData&, const TowerRows&, TowerScratch<Scalar>&,      \
                                std::span<Scalar>, const nn::Pass&, const Threads&) const;                                    \
  template void Tower::encode(const nn::Parameters<Scalar>&, const SideData&, const TowerRows&, Rows<Scalar>, const Threads&) \
      const;                                                                                                                  \
  template Matrix<Scalar> Tower::parts(const nn::Parameters<Scalar>&, const SideData&, const TowerRows&) const;
TWOTOWER_INSTANTIATE(float)
TWOTOWER_INSTANTIATE(double)

}  // namespace twotower::model
