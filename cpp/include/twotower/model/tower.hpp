#pragma once
// One side of the model: feature columns and sequences -> encoders -> one joined vector -> layers -> the entity's vector.
#include <vector>

#include "twotower/base/parallel.hpp"
#include "twotower/model/inputs.hpp"
#include "twotower/model/sequence_input.hpp"
#include "twotower/nn/sequential.hpp"

namespace twotower::model {

struct TowerSpec {
  std::vector<Input> inputs;
  Join join = Join::kSum;
  nn::Sequential layers;
  std::vector<SequenceSpec> sequences = {};  // joined behind the inputs
};

/// Everything a tower reads: the features of its entities, those of the interactions where an input is of the context, and for
/// each sequence the features of its elements. Views; a side without sequences is made of its FeatureTable alone.
struct SideData {
  SideData(const data::FeatureTable& of_entities, const data::FeatureTable* of_contexts = nullptr,
           std::vector<const data::FeatureTable*> of_elements = {})
      : entities(&of_entities), contexts(of_contexts), elements(std::move(of_elements)) {}

  const data::FeatureTable* entities;
  const data::FeatureTable* contexts;
  std::vector<const data::FeatureTable*> elements;

  Tables tables() const { return {entities, contexts}; }
};

/// Rows of a batch; plain entities where a tower has neither contexts nor a history.
struct TowerRows {
  TowerRows(std::span<const Row> of_entities, std::span<const Row> of_contexts = {},
            const data::Histories* of_histories = nullptr)
      : entities(of_entities), contexts(of_contexts), histories(of_histories) {}
  TowerRows(const std::vector<Row>& of_entities) : entities(of_entities) {}
  TowerRows(std::span<Row> of_entities) : entities(of_entities) {}

  std::span<const Row> entities;                       // (n)
  std::span<const Row> contexts;                       // (n), or empty
  const data::Histories* histories = nullptr;          // a reader a row
  std::span<const std::uint8_t> trainable_entities{};  // 0: this entity's table rows stay as they are; empty: all learn
  std::span<const std::uint8_t> trainable_elements{};  // the same for what histories are made of

  TableRows table_rows() const { return {entities, contexts, trainable_entities}; }
};

/// What a tower needs to remember of a batch between forward and backward; belongs to the caller, grows and is reused.
template <class Scalar>
struct TowerScratch {
  Matrix<Scalar> y, dy;  // (n, out_width)
  Matrix<Scalar> cache;  // (n, cache_width) joined, its gradient, the layers' cache
  InputScratch inputs;
  std::vector<SequenceScratch<Scalar>> sequences;
  std::vector<std::vector<Scalar>> arenas;  // one gradient a group of blocks
};

/// const and without state, as a layer. Sequences are read first, in blocks of their own; then rows go in fixed blocks, and one
/// task runs the whole tower on its block.
class Tower {
 public:
  static constexpr Index kBlock = 128;  // rows a task: activations of a few hundred columns stay in L2
  static constexpr Index kGroups = 8;   // partial sums of the arena's gradient, whatever the threads

  /// In the arena from `arena_begin` on: the parameters of the inputs, the layers and the sequences.
  /// Throws invalid_argument where widths do not fit.
  Tower(TowerSpec spec, Index arena_begin);

  Index out_width() const { return layers_.out_width(); }
  Index parameter_count() const { return parameter_count_; }
  const Inputs& inputs() const { return inputs_; }
  const std::vector<SequenceInput>& sequences() const { return sequences_; }
  const nn::Sequential& layers() const { return layers_; }
  bool reads_history() const;

  /// Throws where a column or table is missing, of another kind or too small: once, so that passes need not look.
  template <class Scalar>
  void check(const SideData& data, const nn::Parameters<Scalar>& parameters) const;

  template <class Scalar>
  void initialize(nn::Parameters<Scalar>& parameters, std::uint64_t seed, std::uint64_t side) const;

  /// Sizes the scratch for these rows and notes which table rows they touch.
  template <class Scalar>
  void prepare(const SideData& data, const TowerRows& rows, const nn::Pass& pass, TowerScratch<Scalar>& scratch) const;

  /// Adds what this tower contributes to a table's gradient; the gradients are there after backward().
  template <class Scalar>
  void add_sources(Index table, const TowerScratch<Scalar>& scratch,
                   std::vector<typename nn::RowGradients<Scalar>::Source>& sources) const;

  /// Writes scratch.y.
  template <class Scalar>
  void forward(const nn::Parameters<Scalar>& parameters, const SideData& data, const TowerRows& rows,
               TowerScratch<Scalar>& scratch, const nn::Pass& pass, const Threads& threads) const;

  /// From scratch.dy: adds to darena (the whole arena's gradient), leaves the gradients of the tables' rows in the scratch.
  template <class Scalar>
  void backward(const nn::Parameters<Scalar>& parameters, const SideData& data, const TowerRows& rows,
                TowerScratch<Scalar>& scratch, std::span<Scalar> darena, const nn::Pass& pass, const Threads& threads) const;

  /// y (n, out_width): the vectors of these rows, outside training. An entity's vector does not depend on its companions.
  template <class Scalar>
  void encode(const nn::Parameters<Scalar>& parameters, const SideData& data, const TowerRows& rows, Rows<Scalar> y,
              const Threads& threads) const;

  /// What each part (the inputs, then the sequences) adds to the joined vector of one row, outside training: (parts,
  /// joined_width()), zeros outside a part's slice.
  template <class Scalar>
  Matrix<Scalar> parts(const nn::Parameters<Scalar>& parameters, const SideData& data, const TowerRows& row) const;

  Index joined_width() const { return layers_.in_width(); }
  Index layers_arena() const { return arena_begin_ + inputs_.parameter_count(); }

 private:
  Index gradient_begin() const;  // first column of the joined gradient in the cache
  Index layers_begin() const;    // first column of the layers' cache
  Index blocks_parameter_count() const { return inputs_.parameter_count() + layers_.parameter_count(); }

  template <class Scalar>
  void read_sequences(const nn::Parameters<Scalar>& parameters, const SideData& data, const TowerRows& rows,
                      TowerScratch<Scalar>& scratch, const nn::Pass& pass, const Threads& threads) const;
  template <class Scalar>
  void join_block(const nn::Parameters<Scalar>& parameters, const SideData& data, const TowerRows& rows,
                  const TowerScratch<Scalar>& scratch, Index begin, Rows<Scalar> joined) const;
  template <class Scalar>
  void encode_some(const nn::Parameters<Scalar>& parameters, const SideData& data, const TowerRows& rows,
                   TowerScratch<Scalar>& scratch, Rows<Scalar> y, const Threads& threads) const;

  Index arena_begin_;
  Inputs inputs_;
  nn::Sequential layers_;
  std::vector<SequenceInput> sequences_;
  std::vector<Index> sequence_begin_;  // first columns of the sequences' slices
  Index parameter_count_ = 0;
};

}  // namespace twotower::model
