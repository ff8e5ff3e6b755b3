#include "twotower/model/tower.hpp"

#include <algorithm>

#include "twotower/base/check.hpp"

namespace twotower::model {
namespace {

constexpr const char* kName = "Tower";
constexpr Index kTile = 32;

Index padded(Index width) { return (width + 15) / 16 * 16; }

nn::Lists lists_of(const data::Bags& bags) { return {bags.offsets, bags.codes, bags.weights}; }

Index width_of(const Encoder& encoder) {
  return std::visit([](const auto& e) { return e.width; }, encoder);
}

template <class... Functions>
struct Overloaded : Functions... {
  using Functions::operator()...;
};

}  // namespace

Tower::Tower(TowerSpec spec, Index arena_begin) : spec_(std::move(spec)), arena_begin_(arena_begin) {
  check_at_least(kName, "number of inputs", std::ssize(spec_.inputs), 1);
  Index slice = 0, arena = arena_begin;
  for (const Input& input : spec_.inputs) {
    const Index width = width_of(input.encoder);
    check_at_least(kName, "width of an input", width, 1);
    places_.push_back({spec_.join == Join::kSum ? 0 : slice, width, arena});
    if (spec_.join == Join::kSum) check_size(kName, "width of an input", width, "width of the first layer", joined_width());
    slice += width;
    if (const auto* numeric = std::get_if<nn::Numeric>(&input.encoder)) arena += numeric->parameter_count();
  }
  if (spec_.join == Join::kConcatenate)
    check_size(kName, "width of all inputs", slice, "width of the first layer", joined_width());
  layers_arena_ = arena;
  parameter_count_ = arena - arena_begin + spec_.layers.parameter_count();
}

Index Tower::gradient_begin() const { return padded(joined_width()); }
Index Tower::layers_begin() const { return 2 * padded(joined_width()); }

template <class Scalar>
void Tower::check(const data::FeatureTable& features, const nn::Parameters<Scalar>& parameters) const {
  check_at_least(kName, "size of the arena", std::ssize(parameters.arena), arena_begin_ + parameter_count_);
  for (const Input& input : spec_.inputs) {
    check_in_range(kName, "column of an input", static_cast<double>(input.column), 0,
                   static_cast<double>(features.columns() - 1));
    const auto& column = features.column(input.column);
    const bool fits = std::visit(Overloaded{[&](const nn::Embedding&) { return std::holds_alternative<data::Codes>(column); },
                                            [&](const nn::Bag&) { return std::holds_alternative<data::Bags>(column); },
                                            [&](const nn::Numeric&) { return std::holds_alternative<data::Numbers>(column); }},
                                 input.encoder);
    if (!fits) fail(kName, "column " + std::to_string(input.column) + " is of another kind than its encoder");
    if (std::holds_alternative<nn::Numeric>(input.encoder)) continue;
    check_in_range(kName, "table of an input", static_cast<double>(input.table), 0,
                   static_cast<double>(std::ssize(parameters.tables)) - 1);
    const auto& table = parameters.tables[static_cast<std::size_t>(input.table)].values;
    check_size(kName, "width of table " + std::to_string(input.table), table.cols(), "width of its encoder",
               width_of(input.encoder));
    const auto* codes = std::get_if<data::Codes>(&column);
    check_at_least(kName, "rows of table " + std::to_string(input.table), table.rows(),
                   codes ? codes->vocabulary : std::get<data::Bags>(column).vocabulary);
  }
}

template <class Scalar>
void Tower::initialize(nn::Parameters<Scalar>& parameters, std::uint64_t seed, std::uint64_t side) const {
  // Tables are keyed from 0 up; the arena's streams lie far above them.
  RandomStream stream(seed, Purpose::kInitialize, (std::uint64_t{1} << 32) + side);
  for (std::size_t i = 0; i < places_.size(); ++i)
    if (const auto* numeric = std::get_if<nn::Numeric>(&spec_.inputs[i].encoder))
      numeric->initialize(parameters.arena.data() + places_[i].arena, stream);
  spec_.layers.initialize(parameters.arena.data() + layers_arena_, stream);
}

template <class Scalar>
void Tower::prepare(const data::FeatureTable& features, std::span<const Row> rows, TowerScratch<Scalar>& scratch) const {
  const Index n = std::ssize(rows);
  scratch.y.resize(n, out_width());
  scratch.dy.resize(n, out_width());
  scratch.cache.resize(n, layers_begin() + spec_.layers.cache_width());
  scratch.touches.resize(spec_.inputs.size());
  for (std::size_t i = 0; i < spec_.inputs.size(); ++i) {
    scratch.touches[i].clear();
    const auto& column = features.column(spec_.inputs[i].column);
    std::visit(
        Overloaded{[&](const nn::Embedding& e) { e.touches(std::get<data::Codes>(column).codes, rows, scratch.touches[i]); },
                   [&](const nn::Bag& e) { e.touches(lists_of(std::get<data::Bags>(column)), rows, scratch.touches[i]); },
                   [](const nn::Numeric&) {}},
        spec_.inputs[i].encoder);
  }
}

template <class Scalar>
void Tower::add_sources(Index table, const TowerScratch<Scalar>& scratch,
                        std::vector<typename nn::RowGradients<Scalar>::Source>& sources) const {
  for (std::size_t i = 0; i < spec_.inputs.size(); ++i) {
    if (spec_.inputs[i].table != table) continue;
    const Scalar* first = scratch.cache.data() + gradient_begin() + places_[i].slice;
    sources.push_back(
        {scratch.touches[i], {first, scratch.cache.rows(), places_[i].width, Eigen::OuterStride<>(scratch.cache.cols())}});
  }
}

template <class Scalar>
void Tower::encode_block(const nn::Parameters<Scalar>& parameters, const data::FeatureTable& features, std::span<const Row> rows,
                         Rows<Scalar> y, Rows<Scalar> cache, const nn::Pass& pass) const {
  auto joined = cache.leftCols(joined_width());
  joined.setZero();
  for (std::size_t i = 0; i < spec_.inputs.size(); ++i) {
    const Input& input = spec_.inputs[i];
    const auto& column = features.column(input.column);
    auto slice = joined.middleCols(places_[i].slice, places_[i].width);
    const auto table = [&] { return parameters.tables[static_cast<std::size_t>(input.table)].view(); };
    std::visit(Overloaded{[&](const nn::Embedding& e) {
                            e.template forward<Scalar>(table(), std::get<data::Codes>(column).codes, rows, slice);
                          },
                          [&](const nn::Bag& e) {
                            e.template forward<Scalar>(table(), lists_of(std::get<data::Bags>(column)), rows, slice);
                          },
                          [&](const nn::Numeric& e) {
                            e.template forward<Scalar>(parameters.arena.data() + places_[i].arena,
                                                       std::get<data::Numbers>(column).values, rows, slice);
                          }},
               input.encoder);
  }
  spec_.layers.template forward<Scalar>(parameters.arena.data() + layers_arena_, joined, y,
                                        cache.rightCols(spec_.layers.cache_width()), pass);
}

template <class Scalar>
void Tower::backward_block(const nn::Parameters<Scalar>& parameters, const data::FeatureTable& features,
                           std::span<const Row> rows, ConstRows<Scalar> dy, Rows<Scalar> cache, Scalar* darena,
                           const nn::Pass& pass) const {
  auto djoined = cache.middleCols(gradient_begin(), joined_width());
  spec_.layers.template backward<Scalar>(parameters.arena.data() + layers_arena_, cache.leftCols(joined_width()),
                                         cache.rightCols(spec_.layers.cache_width()), dy, djoined, darena + layers_arena_, pass);
  for (std::size_t i = 0; i < spec_.inputs.size(); ++i)
    if (const auto* numeric = std::get_if<nn::Numeric>(&spec_.inputs[i].encoder))
      numeric->template backward<Scalar>(std::get<data::Numbers>(features.column(spec_.inputs[i].column)).values, rows,
                                         djoined.middleCols(places_[i].slice, places_[i].width), darena + places_[i].arena);
}

template <class Scalar>
void Tower::forward(const nn::Parameters<Scalar>& parameters, const data::FeatureTable& features, std::span<const Row> rows,
                    TowerScratch<Scalar>& scratch, const nn::Pass& pass, const Threads& threads) const {
  threads.for_blocks(std::ssize(rows), kBlock, [&](Index begin, Index end, Index) {
    nn::Pass block = pass;
    block.first_row = begin;
    encode_block<Scalar>(parameters, features,
                         rows.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)),
                         scratch.y.middleRows(begin, end - begin), scratch.cache.middleRows(begin, end - begin), block);
  });
}

template <class Scalar>
void Tower::backward(const nn::Parameters<Scalar>& parameters, const data::FeatureTable& features, std::span<const Row> rows,
                     TowerScratch<Scalar>& scratch, std::span<Scalar> darena, const nn::Pass& pass,
                     const Threads& threads) const {
  const Index blocks = (std::ssize(rows) + kBlock - 1) / kBlock,
              blocks_a_group = std::max<Index>(1, (blocks + kGroups - 1) / kGroups);
  const Index groups = (blocks + blocks_a_group - 1) / blocks_a_group;
  scratch.arenas.resize(std::max(scratch.arenas.size(), static_cast<std::size_t>(groups)));
  threads.for_blocks(blocks, blocks_a_group, [&](Index first, Index last, Index group) {
    auto& arena = scratch.arenas[static_cast<std::size_t>(group)];
    arena.assign(parameter_count_ == 0 ? 0 : darena.size(), Scalar{0});
    // A tower without parameters writes none, but adds its offset to the pointer all the same.
    Scalar* const sums = parameter_count_ == 0 ? darena.data() : arena.data();
    for (Index b = first; b < last; ++b) {
      const Index begin = b * kBlock, size = std::min(kBlock, std::ssize(rows) - begin);
      nn::Pass block = pass;
      block.first_row = begin;
      backward_block<Scalar>(parameters, features, rows.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(size)),
                             scratch.dy.middleRows(begin, size), scratch.cache.middleRows(begin, size), sums, block);
    }
  });
  if (parameter_count_ == 0 || groups == 0) return;
  std::vector<Scalar*> parts;
  parts.reserve(static_cast<std::size_t>(groups));
  for (Index g = 0; g < groups; ++g) parts.push_back(scratch.arenas[static_cast<std::size_t>(g)].data() + arena_begin_);
  tree_sum<Scalar>(parts, parameter_count_);
  for (Index k = 0; k < parameter_count_; ++k) darena[static_cast<std::size_t>(arena_begin_ + k)] += parts[0][k];
}

template <class Scalar>
void Tower::encode(const nn::Parameters<Scalar>& parameters, const data::FeatureTable& features, std::span<const Row> rows,
                   Rows<Scalar> y, const Threads& threads) const {
  check(features, parameters);
  check_rows(kName, "rows", rows, features.rows());
  check_size(kName, "rows of y", y.rows(), "number of rows", std::ssize(rows));
  check_size(kName, "width of y", y.cols(), "out_width", out_width());
  threads.for_blocks(std::ssize(rows), kBlock, [&](Index begin, Index end, Index) {
    // A matrix product takes other paths, and gives other last bits, for a few rows than for many: fill up to whole tiles, so
    // that an entity's vector does not depend on its companions.
    const Index size = end - begin, filled = (size + kTile - 1) / kTile * kTile;
    std::vector<Row> block(rows.begin() + begin, rows.begin() + end);
    block.resize(static_cast<std::size_t>(filled), block.back());
    Matrix<Scalar> cache(filled, layers_begin() + spec_.layers.cache_width()), vectors(filled, out_width());
    encode_block<Scalar>(parameters, features, block, vectors, cache, nn::Pass{});
    y.middleRows(begin, size) = vectors.topRows(size);
  });
}

#define TWOTOWER_INSTANTIATE(Scalar)                                                                                          \
  template void Tower::check(const data::FeatureTable&, const nn::Parameters<Scalar>&) const;                                 \
  template void Tower::initialize(nn::Parameters<Scalar>&, std::uint64_t, std::uint64_t) const;                               \
  template void Tower::prepare(const data::FeatureTable&, std::span<const Row>, TowerScratch<Scalar>&) const;                 \
  template void Tower::add_sources(Index, const TowerScratch<Scalar>&, std::vector<nn::RowGradients<Scalar>::Source>&) const; \
  template void Tower::forward(const nn::Parameters<Scalar>&, const data::FeatureTable&, std::span<const Row>,                \
                               TowerScratch<Scalar>&, const nn::Pass&, const Threads&) const;                                 \
  template void Tower::backward(const nn::Parameters<Scalar>&, const data::FeatureTable&, std::span<const Row>,               \
                                TowerScratch<Scalar>&, std::span<Scalar>, const nn::Pass&, const Threads&) const;             \
  template void Tower::encode(const nn::Parameters<Scalar>&, const data::FeatureTable&, std::span<const Row>, Rows<Scalar>,   \
                              const Threads&) const;
TWOTOWER_INSTANTIATE(float)
TWOTOWER_INSTANTIATE(double)

}  // namespace twotower::model
