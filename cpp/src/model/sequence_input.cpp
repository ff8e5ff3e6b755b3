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

template <class Scalar>
ConstRowMap<Scalar> map_of(const Matrix<Scalar>& matrix) {
  return {matrix.data(), matrix.rows(), matrix.cols(), Eigen::OuterStride<>(matrix.cols())};
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

bool SequenceInput::sees_weighted_sum() const {
  return std::visit([]<class E>(const E&) { return nn::SeesWeightedSum<E>; }, encoder_);
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

  scratch.summed = sees_weighted_sum() && sequences(histories, scratch).one_reader_each();
  scratch.in_place = scratch.summed && find_rows(elements, lists, pass, scratch.codes);
  if (!scratch.in_place) find_elements(elements, lists, trainable, pass, scratch);
  scratch.y.resize(std::ssize(rows), width());
  if (pass.training) find_touches(lists, sequences(histories, scratch), trainable, scratch);
}

/// Where an element is a row of one table and no more: true, and the row of each position is written.
bool SequenceInput::find_rows(const data::FeatureTable& elements, const data::Histories& lists, const nn::Pass& pass,
                              std::vector<Row>& codes) const {
  const Input& input = elements_.list()[0];
  if (elements_.list().size() > 1 || !std::holds_alternative<nn::Embedding>(input.encoder)) return false;
  if (pass.training && input.unknown_share > 0) return false;
  const auto& rows = std::get<data::Codes>(elements.column(input.column)).codes;
  codes.clear();
  for (const Row item : lists.items) codes.push_back(rows[static_cast<std::size_t>(item)]);
  return true;
}

/// Writes the distinct elements of the batch, the place of each position among them, and what their inputs note.
template <class Scalar>
void SequenceInput::find_elements(const data::FeatureTable& elements, const data::Histories& lists,
                                  std::span<const std::uint8_t> trainable, const nn::Pass& pass,
                                  SequenceScratch<Scalar>& scratch) const {
  scratch.place.resize(static_cast<std::size_t>(elements.rows()), -1);
  scratch.elements.clear();
  scratch.codes.resize(lists.items.size());
  for (std::size_t p = 0; p < lists.items.size(); ++p) {
    Row& place = scratch.place[static_cast<std::size_t>(lists.items[p])];
    if (place < 0) {
      place = static_cast<Row>(scratch.elements.size());
      scratch.elements.push_back(lists.items[p]);
    }
    scratch.codes[p] = place;
  }
  for (const Row element : scratch.elements) scratch.place[static_cast<std::size_t>(element)] = -1;

  // Products over elements come in whole tiles, so that an element's vector does not depend on which others are there.
  const Index count = std::ssize(scratch.elements), filled = (count + 31) / 32 * 32;
  if (filled > count) scratch.elements.resize(static_cast<std::size_t>(filled), scratch.elements.back());
  scratch.x.resize(filled, width());
  if (pass.training) scratch.dx.resize(filled, width());
  elements_.prepare({&elements}, {scratch.elements, {}, trainable}, pass, scratch.inputs);
}

/// Writes who gets the gradient of what is seen, so that backward has only to sum.
template <class Scalar>
void SequenceInput::find_touches(const data::Histories& lists, const nn::Sequences& all, std::span<const std::uint8_t> trainable,
                                 SequenceScratch<Scalar>& scratch) const {
  scratch.dseen.resize(scratch.summed ? all.rows() : all.positions(), width());
  scratch.touches.clear();
  if (scratch.summed) {
    scratch.weights.resize(lists.items.size());
    std::visit(
        [&](const auto& encoder) {
          if constexpr (nn::SeesWeightedSum<std::remove_cvref_t<decltype(encoder)>>) encoder.weigh(all, scratch.weights);
        },
        encoder_);
    const bool some_stay = scratch.in_place && !trainable.empty();
    for (std::size_t s = 0; s + 1 < lists.offsets.size(); ++s)
      for (auto p = static_cast<std::size_t>(lists.offsets[s]); p < static_cast<std::size_t>(lists.offsets[s + 1]); ++p)
        if (!some_stay || trainable[static_cast<std::size_t>(lists.items[p])] != 0)
          scratch.touches.push_back({scratch.codes[p], static_cast<Row>(s), scratch.weights[p]});
  } else {
    for (std::size_t p = 0; p < scratch.codes.size(); ++p) scratch.touches.push_back({scratch.codes[p], static_cast<Row>(p), 1});
  }
  if (scratch.in_place) return;
  const typename nn::RowGradients<Scalar>::Source source{scratch.touches, map_of(scratch.dseen)};
  scratch.element_gradients.sort({&source, 1}, scratch.dx.rows());
}

template <class Scalar>
void SequenceInput::forward(const nn::Parameters<Scalar>& parameters, const data::FeatureTable& elements,
                            const data::Histories* histories, SequenceScratch<Scalar>& scratch, const nn::Pass& pass,
                            const Threads& threads) const {
  if (!scratch.in_place)
    threads.for_blocks(std::ssize(scratch.elements), kElementBlock, [&](Index begin, Index end, Index) {
      Rows<Scalar> block = scratch.x.middleRows(begin, end - begin);
      block.setZero();
      elements_.forward<Scalar>(parameters, {&elements}, {scratch.elements, {}}, scratch.inputs, begin, block);
    });
  const ConstRowMap<Scalar> seen =
      scratch.in_place ? parameters.tables[static_cast<std::size_t>(elements_.list()[0].table)].view() : map_of(scratch.x);
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
          encoder.template forward<Scalar>(parameters.arena.data() + encoder_arena_, seen, block, y,
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
      const Index first_seen = static_cast<Index>(scratch.summed ? block.readers.front() : block.offsets.front());
      Rows<Scalar> dseen = scratch.dseen.middleRows(first_seen, scratch.summed ? block.rows() : block.positions());
      const auto dy_rows = dy.middleRows(static_cast<Index>(block.readers.front()), block.rows());
      const Scalar* own_parameters = parameters.arena.data() + encoder_arena_;
      auto& cache = scratch.caches[static_cast<std::size_t>(number)];
      Scalar* dparameters = arena.data() + (encoder_arena_ - arena_begin_);
      std::visit(
          [&](const auto& encoder) {
            if constexpr (nn::SeesWeightedSum<std::remove_cvref_t<decltype(encoder)>>)
              if (scratch.summed)
                return encoder.template backward_to_sums<Scalar>(own_parameters, block, dy_rows, dseen, cache, dparameters);
            encoder.template backward<Scalar>(own_parameters, scratch.x, block, dy_rows, dseen, cache, dparameters, own);
          },
          encoder_);
    }
  });

  if (!scratch.in_place) {
    const Index distinct = std::ssize(scratch.element_gradients.rows());  // every element stands somewhere: rows 0, 1, 2 ...
    scratch.element_gradients.sum_all(threads, scratch.dx.topRows(distinct));
    scratch.dx.bottomRows(scratch.dx.rows() - distinct).setZero();
  }

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
  if (!scratch.in_place)
    elements_.add_sources<Scalar>(table, scratch.inputs, map_of(scratch.dx), sources);
  else if (elements_.list()[0].table == table)
    sources.push_back({scratch.touches, map_of(scratch.dseen)});
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
