#include "twotower/model/sequence_input.hpp"

#include <algorithm>
#include <limits>
#include <string>
#include <type_traits>

#include "twotower/base/check.hpp"

namespace twotower::model {
namespace {

constexpr const char* kName = "SequenceInput";
constexpr Index kElementBlock = 128;

/// The lists of these entities, each read to its end.
void take_lists(const data::Bags& bags, std::span<const Row> rows, data::Histories& out) {
  out.assign({bags.offsets, bags.codes, bags.weights}, rows, std::numeric_limits<Index>::max());
}

}  // namespace

SequenceInput::SequenceInput(SequenceSpec spec, Index arena_begin)
    : column_(spec.column),
      elements_(std::move(spec.elements), Join::kSum, arena_begin),
      encoder_(spec.encoder),
      arena_begin_(arena_begin),
      encoder_arena_(arena_begin + elements_.parameter_count()) {
  Index own = 0;
  std::visit(
      [&](const auto& encoder) {
        static_assert(nn::IsSequenceEncoder<std::remove_cvref_t<decltype(encoder)>>);
        encoder.check();
        own = encoder.parameter_count();
      },
      encoder_);
  check_size(kName, "width of the elements", elements_.width(), "width of the encoder", width());
  parameter_count_ = elements_.parameter_count() + own;
}

Index SequenceInput::width() const {
  return std::visit([](const auto& encoder) { return encoder.width; }, encoder_);
}

template <class Scalar>
void SequenceInput::check(std::string_view name, const data::FeatureTable& entities, const data::FeatureTable& elements,
                          const nn::Parameters<Scalar>& parameters) const {
  elements_.check<Scalar>(name, {&elements}, parameters);
  if (reads_history()) return;
  check_in_range(name, "column of a sequence", static_cast<double>(column_), 0, static_cast<double>(entities.columns() - 1));
  const auto* bags = std::get_if<data::Bags>(&entities.column(column_));
  if (!bags) fail(name, "column " + std::to_string(column_) + " is of another kind than a sequence, which needs lists");
  check_at_least(name, "rows of the element table", elements.rows(), bags->vocabulary);
}

template <class Scalar>
void SequenceInput::initialize(nn::Parameters<Scalar>& parameters, RandomStream& random) const {
  elements_.initialize(parameters, random);
  std::visit([&](const auto& encoder) { encoder.template initialize<Scalar>(parameters.arena.data() + encoder_arena_, random); },
             encoder_);
}

template <class Scalar>
nn::Sequences SequenceInput::sequences(const data::Histories* histories, const SequenceScratch<Scalar>& scratch) const {
  const data::Histories& lists = reads_history() ? *histories : scratch.lists;
  return {lists.offsets, scratch.codes, lists.weights, lists.readers, lists.lengths};
}

template <class Scalar>
void SequenceInput::prepare(const data::FeatureTable& entities, const data::FeatureTable& elements, std::span<const Row> rows,
                            const data::Histories* histories, std::span<const std::uint8_t> trainable, const nn::Pass& pass,
                            SequenceScratch<Scalar>& scratch) const {
  if (!reads_history()) take_lists(std::get<data::Bags>(entities.column(column_)), rows, scratch.lists);
  const data::Histories& lists = reads_history() ? *histories : scratch.lists;

  scratch.place.resize(static_cast<std::size_t>(elements.rows()), -1);
  scratch.elements.clear();
  scratch.codes.resize(lists.items.size());
  scratch.touches.clear();
  for (std::size_t p = 0; p < lists.items.size(); ++p) {
    Row& place = scratch.place[static_cast<std::size_t>(lists.items[p])];
    if (place < 0) {
      place = static_cast<Row>(scratch.elements.size());
      scratch.elements.push_back(lists.items[p]);
    }
    scratch.codes[p] = place;
    if (pass.training) scratch.touches.push_back({place, static_cast<Row>(p), 1});
  }
  for (const Row element : scratch.elements) scratch.place[static_cast<std::size_t>(element)] = -1;

  // Products over elements come in whole tiles, so that an element's vector does not depend on which others are there.
  const Index count = std::ssize(scratch.elements), filled = (count + 31) / 32 * 32;
  scratch.x.resize(filled, width());
  scratch.y.resize(std::ssize(rows), width());
  if (filled > count) scratch.elements.resize(static_cast<std::size_t>(filled), scratch.elements.back());
  elements_.prepare({&elements}, {scratch.elements, {}, trainable}, pass, scratch.inputs);
  if (!pass.training) return;
  scratch.dx.resize(filled, width());
  scratch.dpositions.resize(std::ssize(lists.items), width());
}

template <class Scalar>
void SequenceInput::forward(const nn::Parameters<Scalar>& parameters, const data::FeatureTable& elements,
                            const data::Histories* histories, SequenceScratch<Scalar>& scratch, const nn::Pass& pass,
                            const Threads& threads) const {
  threads.for_blocks(std::ssize(scratch.elements), kElementBlock, [&](Index begin, Index end, Index) {
    Rows<Scalar> block = scratch.x.middleRows(begin, end - begin);
    block.setZero();
    elements_.forward<Scalar>(parameters, {&elements}, {scratch.elements, {}}, scratch.inputs, begin, block);
  });
  const nn::Sequences all = sequences(histories, scratch);
  const Index blocks = (all.count() + kBlock - 1) / kBlock;
  if (std::ssize(scratch.caches) < blocks) scratch.caches.resize(static_cast<std::size_t>(blocks));
  scratch.y.bottomRows(scratch.y.rows() - all.rows()).setZero();
  threads.for_blocks(all.count(), kBlock, [&](Index begin, Index end, Index number) {
    const nn::Sequences block = all.part(begin, end);
    nn::Pass own = pass;
    own.first_row = static_cast<Index>(block.offsets.front());
    Rows<Scalar> y = scratch.y.middleRows(static_cast<Index>(block.readers.front()), block.rows());
    std::visit(
        [&](const auto& encoder) {
          encoder.template forward<Scalar>(parameters.arena.data() + encoder_arena_, scratch.x, block, y,
                                           scratch.caches[static_cast<std::size_t>(number)], own);
        },
        encoder_);
  });
}

template <class Scalar>
void SequenceInput::backward(const nn::Parameters<Scalar>& parameters, const data::FeatureTable& elements,
                             const data::Histories* histories, ConstRows<Scalar> dy, SequenceScratch<Scalar>& scratch,
                             std::span<Scalar> darena, const nn::Pass& pass, const Threads& threads) const {
  const nn::Sequences all = sequences(histories, scratch);
  const Index blocks = (all.count() + kBlock - 1) / kBlock, blocks_a_group = std::max<Index>(1, (blocks + kGroups - 1) / kGroups);
  const Index groups = (blocks + blocks_a_group - 1) / blocks_a_group;
  if (std::ssize(scratch.arenas) < groups) scratch.arenas.resize(static_cast<std::size_t>(groups));
  threads.for_blocks(blocks, blocks_a_group, [&](Index first, Index last, Index group) {
    auto& arena = scratch.arenas[static_cast<std::size_t>(group)];
    arena.assign(static_cast<std::size_t>(parameter_count_), Scalar{0});
    for (Index number = first; number < last; ++number) {
      const nn::Sequences block = all.part(number * kBlock, std::min(all.count(), (number + 1) * kBlock));
      nn::Pass own = pass;
      own.first_row = static_cast<Index>(block.offsets.front());
      Rows<Scalar> dpositions = scratch.dpositions.middleRows(static_cast<Index>(block.offsets.front()), block.positions());
      std::visit(
          [&](const auto& encoder) {
            encoder.template backward<Scalar>(parameters.arena.data() + encoder_arena_, scratch.x, block,
                                              dy.middleRows(static_cast<Index>(block.readers.front()), block.rows()), dpositions,
                                              scratch.caches[static_cast<std::size_t>(number)],
                                              arena.data() + (encoder_arena_ - arena_begin_), own);
          },
          encoder_);
    }
  });

  // Positions -> elements -> the tables' rows, which RowGradients sums when the optimizer asks.
  const typename nn::RowGradients<Scalar>::Source source{
      scratch.touches,
      {scratch.dpositions.data(), scratch.dpositions.rows(), width(), Eigen::OuterStride<>(scratch.dpositions.cols())}};
  scratch.element_gradients.sort({&source, 1}, scratch.dx.rows());
  const Index distinct = std::ssize(scratch.element_gradients.rows());  // every element stands somewhere: rows 0, 1, 2 ...
  scratch.element_gradients.sum_all(threads, scratch.dx.topRows(distinct));
  scratch.dx.bottomRows(scratch.dx.rows() - distinct).setZero();

  if (groups == 0) return;
  if (elements_.parameter_count() > 0)
    elements_.backward<Scalar>({&elements}, {scratch.elements, {}}, 0, scratch.dx, darena.data());
  std::vector<Scalar*> parts;
  parts.reserve(static_cast<std::size_t>(groups));
  for (Index g = 0; g < groups; ++g) parts.push_back(scratch.arenas[static_cast<std::size_t>(g)].data());
  tree_sum<Scalar>(parts, parameter_count_);
  for (Index k = 0; k < parameter_count_; ++k) darena[static_cast<std::size_t>(arena_begin_ + k)] += parts[0][k];
}

template <class Scalar>
void SequenceInput::add_sources(Index table, const SequenceScratch<Scalar>& scratch,
                                std::vector<typename nn::RowGradients<Scalar>::Source>& sources) const {
  elements_.add_sources<Scalar>(
      table, scratch.inputs, {scratch.dx.data(), scratch.dx.rows(), scratch.dx.cols(), Eigen::OuterStride<>(scratch.dx.cols())},
      sources);
}

#define TWOTOWER_INSTANTIATE(Scalar)                                                                                      \
  template void SequenceInput::check(std::string_view, const data::FeatureTable&, const data::FeatureTable&,              \
                                     const nn::Parameters<Scalar>&) const;                                                \
  template void SequenceInput::initialize(nn::Parameters<Scalar>&, RandomStream&) const;                                  \
  template void SequenceInput::prepare(const data::FeatureTable&, const data::FeatureTable&, std::span<const Row>,        \
                                       const data::Histories*, std::span<const std::uint8_t>, const nn::Pass&,            \
                                       SequenceScratch<Scalar>&) const;                                                   \
  template void SequenceInput::forward(const nn::Parameters<Scalar>&, const data::FeatureTable&, const data::Histories*,  \
                                       SequenceScratch<Scalar>&, const nn::Pass&, const Threads&) const;                  \
  template void SequenceInput::backward(const nn::Parameters<Scalar>&, const data::FeatureTable&, const data::Histories*, \
                                        ConstRows<Scalar>, SequenceScratch<Scalar>&, std::span<Scalar>, const nn::Pass&,  \
                                        const Threads&) const;                                                            \
  template void SequenceInput::add_sources(Index, const SequenceScratch<Scalar>&,                                         \
                                           std::vector<nn::RowGradients<Scalar>::Source>&) const;
TWOTOWER_INSTANTIATE(float)
TWOTOWER_INSTANTIATE(double)

}  // namespace twotower::model
