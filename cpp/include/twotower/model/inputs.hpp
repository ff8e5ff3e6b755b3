#pragma once
// Columns -> encoders -> one joined vector: the lower end of a tower, and of whatever a history's items or a text's words are.
#include <span>
#include <string_view>
#include <variant>
#include <vector>

#include "twotower/data/feature_table.hpp"
#include "twotower/nn/embedding.hpp"
#include "twotower/nn/layer.hpp"
#include "twotower/nn/parameters.hpp"
#include "twotower/nn/projection.hpp"

namespace twotower::model {

using Encoder = std::variant<nn::Embedding, nn::Bag, nn::Numeric, nn::Projection, nn::Given>;

/// One column's way into the joined vector.
struct Input {
  Index column;      // of the entities' FeatureTable, or of the contexts'
  Index table = -1;  // of Parameters::tables; -1 where the parameters lie in the arena
  Encoder encoder;
  bool context = false;      // the column describes the interaction, not the entity
  double unknown_share = 0;  // Embedding: share of the codes that training replaces by 0, which stands for the unknown
};

/// Sum: all encoders have the same width and add up. Concatenate: each has its own slice.
enum class Join { kSum, kConcatenate };

/// Where inputs read: one row an entity, and where some are of contexts one row an interaction.
struct Tables {
  const data::FeatureTable* entities = nullptr;
  const data::FeatureTable* contexts = nullptr;
};

/// Rows of a batch in both tables; contexts may be empty where no input asks for them.
struct TableRows {
  std::span<const Row> entities, contexts;
  std::span<const std::uint8_t> trainable{};  // (entities of the table) 0: this entity's table rows stay; empty: all learn
};

/// What inputs note of a batch: which codes they read, and which table rows that touches.
struct InputScratch {
  std::vector<std::vector<Row>> codes;             // one list an input; (n) for an Embedding, else empty
  std::vector<std::vector<nn::RowTouch>> touches;  // one list an input
};

/// const and without state. The parameters of encoders without a table lie in the arena from `arena_begin` on.
class Inputs {
 public:
  /// Throws invalid_argument where there is no input or a width is below 1 or, with Sum, differs.
  Inputs(std::vector<Input> inputs, Join join, Index arena_begin);

  Index width() const { return width_; }
  Index parameter_count() const { return parameter_count_; }
  const std::vector<Input>& list() const { return inputs_; }

  /// First column and width of an input's slice of the joined vector.
  Index slice_begin(std::size_t input) const { return places_[input].slice; }
  Index slice_width(std::size_t input) const { return places_[input].width; }

  /// Throws where a column or table is missing, of another kind or too small: once, so that passes need not look.
  template <class Scalar>
  void check(std::string_view name, const Tables& tables, const nn::Parameters<Scalar>& parameters) const;

  template <class Scalar>
  void initialize(nn::Parameters<Scalar>& parameters, RandomStream& random) const;

  /// Notes codes (in training some of them unknown) and touches of all rows.
  void prepare(const Tables& tables, const TableRows& rows, const nn::Pass& pass, InputScratch& scratch) const;

  /// Adds to joined (size, width()), for the rows [begin, begin + size).
  template <class Scalar>
  void forward(const nn::Parameters<Scalar>& parameters, const Tables& tables, const TableRows& rows, const InputScratch& scratch,
               Index begin, Rows<Scalar> joined) const;

  /// The same for one input alone.
  template <class Scalar>
  void forward_one(std::size_t input, const nn::Parameters<Scalar>& parameters, const Tables& tables, const TableRows& rows,
                   const InputScratch& scratch, Index begin, Rows<Scalar> joined) const;

  /// Adds to darena, the whole arena's gradient, from djoined (size, width()).
  template <class Scalar>
  void backward(const Tables& tables, const TableRows& rows, Index begin, ConstRows<Scalar> djoined, Scalar* darena) const;

  /// Appends what these inputs contribute to a table's gradient; `djoined` (n, width()) may be filled later.
  template <class Scalar>
  void add_sources(Index table, const InputScratch& scratch, const ConstRowMap<Scalar>& djoined,
                   std::vector<typename nn::RowGradients<Scalar>::Source>& sources) const;

 private:
  /// Where an input's slice of the joined vector and its parameters begin.
  struct Place {
    Index slice, width, arena;
  };

  std::vector<Input> inputs_;
  std::vector<Place> places_;
  Index width_ = 0, parameter_count_ = 0;
};

}  // namespace twotower::model
