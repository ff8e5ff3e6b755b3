#pragma once
// Two towers that meet in a network: what ranks, predicts ratings, and what NeuMF, DCN-v2 and factorization machines are.
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "twotower/model/tables.hpp"
#include "twotower/model/tower.hpp"

namespace twotower::model {

/// What the head reads of a pair with the vectors u and v: the parts that are asked for, side by side in this order.
struct Meeting {
  bool vectors = true;   // u, then v
  bool product = false;  // u * v, value by value
  bool dot = false;      // <u, v>
  bool given = false;    // a number that comes with the pair: a retriever's score
  bool sum = false;      // u + v: what a Dense makes of [u, v] where each tower ends in its half of it
  Index split = 0;       // product and dot read the columns before it and sum those from it on; 0: they read all

  /// Width of the head's input for towers of these widths. Throws invalid_argument where nothing is asked for, a product, dot or
  /// sum of vectors of different widths, or a split that leaves one of the halves nothing.
  Index width(Index user_width, Index item_width) const;

  Index multiplied_width(Index width) const { return split > 0 ? split : width; }
  Index sum_width(Index width) const { return width - split; }
};

struct PairScorerSpec {
  TowerSpec user, item;
  std::optional<TowerSpec> user_bias, item_bias;  // each of width 1, added to the score
  Meeting meeting;
  nn::Sequential head{1};  // from the meeting's width to 1
  std::vector<TableSpec> tables;
  double offset = 0;        // added to every score: the mean of what is predicted
  double deviation = 0.01;  // of the tables' first values
  std::uint64_t seed = 0;
};

/// Pairs of a batch: users and items of the towers' rows, and for each pair which of them meet.
struct PairRows {
  TowerRows users, items;
  std::span<const Row> user_of_pair;  // (pairs) places among the users, ascending
  std::span<const Row> item_of_pair;  // (pairs) places among the items
  std::span<const float> given;       // (pairs) with Meeting::given
};

/// What a PairScorer needs to remember of a batch between forward and backward; belongs to the caller, grows and is reused.
template <class Scalar>
struct PairScratch {
  TowerScratch<Scalar> user, item, user_bias, item_bias;
  std::vector<Scalar> scores, dscores;      // (pairs)
  std::vector<Scalar> djoined;              // (pairs, width of the head's input) grows and never shrinks
  std::vector<Index> user_begin;            // (users + 1) into the pairs
  std::vector<Index> item_begin, by_item;   // (items + 1), (pairs): the pairs of each item, in their order
  std::vector<std::vector<Scalar>> arenas;  // one gradient a group of blocks
};

/// Buffers of one block of pairs.
template <class Scalar>
struct HeadScratch {
  Matrix<Scalar> joined, out, cache;  // (at least `rows`, ...)

  void fit(Index rows, const nn::Sequential& head);
};

/// score(user, item) = offset + user bias + item bias + head(meeting of the towers' vectors).
///
/// A user or an item that stands in many pairs of a batch passes its tower once. Vectors that leave the model carry the bias in
/// their last column, so that scores need nothing else. Training with a loss of lists runs the head on a block of pairs twice,
/// once for the scores and once more before its gradients: activations of a block stay in the cache of a core, those of a batch
/// would go through memory.
template <class Scalar>
class PairScorer {
 public:
  static constexpr Index kBlock = 128;  // pairs a task
  static constexpr Index kGroups = 8;   // partial sums of the head's gradient, whatever the threads

  /// Throws invalid_argument where widths do not fit, or a table is empty or shares its name.
  explicit PairScorer(const PairScorerSpec& spec);

  const Tower& user() const { return user_; }
  const Tower& item() const { return item_; }
  const Meeting& meeting() const { return meeting_; }
  const nn::Sequential& head() const { return head_; }
  Index head_arena() const { return head_arena_; }
  Scalar offset() const { return offset_; }

  nn::Parameters<Scalar>& parameters() { return parameters_; }
  const nn::Parameters<Scalar>& parameters() const { return parameters_; }

  /// Throws where the sides' data do not have what the towers read.
  void check(const SideData& users, const SideData& items) const;

  // --- training -----------------------------------------------------------------------------------------------------------

  /// Sizes the scratch for these pairs and notes which table rows they touch.
  void prepare(const SideData& users, const SideData& items, const PairRows& rows, const nn::Pass& pass,
               PairScratch<Scalar>& scratch) const;

  /// Adds what the model contributes to a table's gradient; the gradients are there after backward().
  void add_sources(Index table, const PairScratch<Scalar>& scratch,
                   std::vector<typename nn::RowGradients<Scalar>::Source>& sources) const;

  /// Writes what the towers make of the rows: the first half of forward(), which writes scratch.scores.
  void forward_towers(const SideData& users, const SideData& items, const PairRows& rows, PairScratch<Scalar>& scratch,
                      const nn::Pass& pass, const Threads& threads) const;
  void forward(const SideData& users, const SideData& items, const PairRows& rows, PairScratch<Scalar>& scratch,
               const nn::Pass& pass, const Threads& threads) const;

  /// From scratch.dscores: adds to darena (the whole arena's gradient), leaves the gradients of the tables' rows in the scratch.
  ///
  /// shrink, bias_shrink >= 0 add the gradient of shrink / 2 |u|^2 (and |v|^2; bias_shrink: of the biases) for every pair, each
  /// weighing 1 / pairs: the usual L2 of a rating's own vectors.
  void backward(const SideData& users, const SideData& items, const PairRows& rows, PairScratch<Scalar>& scratch,
                std::span<Scalar> darena, double shrink, double bias_shrink, const nn::Pass& pass, const Threads& threads) const;

  /// The two halves of backward(), between which others may add to scratch.user.dy and scratch.item.dy, the gradients of the
  /// towers' vectors: the first writes them, the second takes them through the towers.
  ///
  /// With `slopes`, for a loss that looks at one pair at a time, the first follows forward_towers() alone: each block has its
  /// scores written, then slopes(begin, end) writes scratch.dscores of these pairs, then come the gradients. The head runs once,
  /// not twice.
  void backward_head(const PairRows& rows, PairScratch<Scalar>& scratch, std::span<Scalar> darena, double shrink,
                     double bias_shrink, const nn::Pass& pass, const Threads& threads,
                     const std::function<void(Index begin, Index end)>& slopes = {}) const;
  void backward_towers(const SideData& users, const SideData& items, const PairRows& rows, PairScratch<Scalar>& scratch,
                       std::span<Scalar> darena, const nn::Pass& pass, const Threads& threads) const;

  // --- serving ------------------------------------------------------------------------------------------------------------

  Index user_vector_width() const { return user_.out_width() + 1; }
  Index item_vector_width() const { return item_.out_width() + 1; }

  /// out (rows, user_vector_width()): vectors and, in the last column, biases; an entity's do not depend on its companions.
  void user_vectors(const SideData& data, const TowerRows& rows, Rows<Scalar> out, const Threads& threads) const;
  void item_vectors(const SideData& data, const TowerRows& rows, Rows<Scalar> out, const Threads& threads) const;

  /// Scores of pairs of such vectors. A pair's score does not depend on its companions.
  ///
  /// Shapes      users (a, user_vector_width())    items (b, item_vector_width())    user_rows, item_rows, scores (pairs)
  ///             given (pairs), empty without Meeting::given
  /// Throws      invalid_argument for sizes, out_of_range for a row outside its table
  void score(ConstRows<Scalar> users, ConstRows<Scalar> items, std::span<const Row> user_rows, std::span<const Row> item_rows,
             std::span<const float> given, std::span<Scalar> scores, const Threads& threads) const;

  /// Scores of one user with some items, the same bits; nothing is checked.
  ///
  /// Shapes      user (user_vector_width())    items as in score    item_rows, scores (n)    given (n) or empty
  void score_list(const Scalar* user, ConstRows<Scalar> items, std::span<const Row> item_rows, std::span<const float> given,
                  std::span<Scalar> scores, HeadScratch<Scalar>& scratch) const;

 private:
  void meet(const Scalar* u, const Scalar* v, float given, Scalar* joined) const;
  template <class PairOf>
  void score_block(Index size, const PairOf& pair_of, std::span<Scalar> scores, HeadScratch<Scalar>& scratch) const;
  void meet_block(const PairRows& rows, const PairScratch<Scalar>& scratch, Index begin, Rows<Scalar> joined) const;
  void add_to_user(const Scalar* v, const Scalar* djoined, Scalar* du) const;
  void add_to_item(const Scalar* u, const Scalar* djoined, Scalar* dv) const;
  void add_common(const Scalar* other, const Scalar* djoined, Scalar* own) const;
  void add_biases(const PairRows& rows, PairScratch<Scalar>& scratch, Index begin, Index end) const;
  void sum_over_pairs(const PairRows& rows, PairScratch<Scalar>& scratch, double shrink, double bias_shrink,
                      const Threads& threads) const;
  Index joined_width() const { return head_.in_width(); }

  Tower user_, item_;
  std::optional<Tower> user_bias_, item_bias_;
  Meeting meeting_;
  nn::Sequential head_;
  Index head_arena_ = 0;
  Scalar offset_;
  nn::Parameters<Scalar> parameters_;
};

}  // namespace twotower::model
