#pragma once
// Lists -> one vector a row of a batch: a history of items, the words of a text. Elements are read once a batch, however often
// they stand in it; the sequence encoder (nn/sequences.hpp) sees their vectors, and their gradients go back the same way. Two
// shortcuts: where the encoder sees a weighted sum and every sequence has one reader, as in a batch of pairs, gradients come from
// the readers' sums and not from their positions; and where elements are besides nothing but rows of one table, they are read
// and learned in place.
#include <variant>
#include <vector>

#include "twotower/base/parallel.hpp"
#include "twotower/data/histories.hpp"
#include "twotower/model/inputs.hpp"
#include "twotower/nn/attention_pool.hpp"
#include "twotower/nn/causal_transformer.hpp"
#include "twotower/nn/gru.hpp"
#include "twotower/nn/mean_pool.hpp"

namespace twotower::model {

using SequenceEncoder = std::variant<nn::MeanPool, nn::AttentionPool, nn::Gru, nn::CausalTransformer>;

struct SequenceSpec {
  static constexpr Index kHistory = -1;

  Index column = kHistory;  // of the entities: Bags whose codes are rows of the element table; kHistory: the batch's histories
  std::vector<Input> elements;  // what an element is: inputs over the element table, summed
  SequenceEncoder encoder;
};

/// What a sequence input notes of a batch.
template <class Scalar>
struct SequenceScratch {
  data::Histories lists;              // of a column
  bool summed = false;                // readers see a sum of their own: gradients come from these
  bool in_place = false;              // and elements are rows of one table: no elements, x and dx
  std::vector<Row> codes;             // (positions) place among the elements, or row of that table
  std::vector<Row> elements;          // distinct rows of the element table, in order of first appearance
  std::vector<Row> place;             // (element table) place among the elements, -1 outside
  InputScratch inputs;                // of the elements
  Matrix<Scalar> x, dx;               // (elements, width)
  Matrix<Scalar> y;                   // (rows, width)
  Matrix<Scalar> dseen;               // (positions, width), or of the sums: (rows, width)
  std::vector<float> weights;         // (positions) in the sums
  std::vector<nn::RowTouch> touches;  // what is seen -> codes
  nn::RowGradients<Scalar> element_gradients;
  std::vector<std::vector<Scalar>> caches;  // one a block of sequences
  std::vector<std::vector<Scalar>> arenas;  // one gradient a group of blocks
};

/// const and without state. In the arena from `arena_begin` on: the parameters of the elements' encoders, then the sequence
/// encoder's own.
class SequenceInput {
 public:
  static constexpr Index kBlock = 16;  // sequences a task
  static constexpr Index kGroups = 8;  // partial sums of the arena's gradient, whatever the threads

  /// Throws invalid_argument where widths do not fit.
  SequenceInput(SequenceSpec spec, Index arena_begin);

  Index width() const;
  Index parameter_count() const { return parameter_count_; }
  bool reads_history() const { return column_ == SequenceSpec::kHistory; }

  template <class Scalar>
  void check(std::string_view name, const data::FeatureTable& entities, const data::FeatureTable& elements,
             const nn::Parameters<Scalar>& parameters) const;

  template <class Scalar>
  void initialize(nn::Parameters<Scalar>& parameters, RandomStream& random) const;

  /// Notes the distinct elements of a batch and their touches, and sizes the scratch. `histories` are the batch's; `trainable`
  /// belongs to the rows of the element table.
  template <class Scalar>
  void prepare(const data::FeatureTable& entities, const data::FeatureTable& elements, std::span<const Row> rows,
               const data::Histories* histories, std::span<const std::uint8_t> trainable, const nn::Pass& pass,
               SequenceScratch<Scalar>& scratch) const;

  /// Writes scratch.y; rows of the batch without a reader (padding) get zeros.
  template <class Scalar>
  void forward(const nn::Parameters<Scalar>& parameters, const data::FeatureTable& elements, const data::Histories* histories,
               SequenceScratch<Scalar>& scratch, const nn::Pass& pass, const Threads& threads) const;

  /// From dy (rows, width): adds to darena, the whole arena's gradient; writes what the tables' sources look at.
  template <class Scalar>
  void backward(const nn::Parameters<Scalar>& parameters, const data::FeatureTable& elements, const data::Histories* histories,
                ConstRows<Scalar> dy, SequenceScratch<Scalar>& scratch, std::span<Scalar> darena, const nn::Pass& pass,
                const Threads& threads) const;

  template <class Scalar>
  void add_sources(Index table, const SequenceScratch<Scalar>& scratch,
                   std::vector<typename nn::RowGradients<Scalar>::Source>& sources) const;

 private:
  template <class Scalar>
  nn::Sequences sequences(const data::Histories* histories, const SequenceScratch<Scalar>& scratch) const;
  bool sees_weighted_sum() const;
  bool find_rows(const data::FeatureTable& elements, const data::Histories& lists, const nn::Pass& pass,
                 std::vector<Row>& codes) const;
  template <class Scalar>
  void find_elements(const data::FeatureTable& elements, const data::Histories& lists, std::span<const std::uint8_t> trainable,
                     const nn::Pass& pass, SequenceScratch<Scalar>& scratch) const;
  template <class Scalar>
  void find_touches(const data::Histories& lists, const nn::Sequences& all, std::span<const std::uint8_t> trainable,
                    SequenceScratch<Scalar>& scratch) const;

  Index column_;
  Inputs elements_;
  SequenceEncoder encoder_;
  Index arena_begin_, encoder_arena_, parameter_count_;
};

}  // namespace twotower::model
