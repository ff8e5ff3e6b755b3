#pragma once
// How an epoch's positives become batches: arranged by query, with one shared list of distinct candidates.
#include <cstdint>
#include <vector>

#include "twotower/base/parallel.hpp"
#include "twotower/data/histories.hpp"
#include "twotower/data/interactions.hpp"
#include "twotower/data/negative_sampler.hpp"

namespace twotower::data {

/// What a row of a batch knows of its query's past. In none of them does a row see what it is asked for.
///   None
///   Others     the query's positives of other items than the row's own; for data without times
///   Before     what came before the row's positives; groups are consecutive in the order of the pairs
///   Sessions   what came before the session of the row's positives, which are all of one; within a session the order tells
///              nothing (a person rates a page of films from top to bottom), so a query's first session goes by its others
///   Windows    as Before, for encoders that read many prefixes of one sequence at the cost of one: max_length consecutive
///              positives at a time, each a row of its own that sees the window before it
enum class HistoryMode : std::uint8_t { kNone, kOthers, kBefore, kSessions, kWindows };

/// How to arrange. Pairs, the usual form, are the case group_size = 1.
struct BatchSpec {
  Index batch_size = 4096;   // positives a batch, on average
  Index group_size = 16;     // positives a row, at most
  double logq_strength = 1;  // 1: the full correction, 0: none
  double query_balance = 0;  // a in weight n^-a of a positive of a query (with Sessions: in a session) with n positives
  NegativeSampler negatives{};
  HistoryMode history = HistoryMode::kNone;
  Index max_length = 50;            // items of a history, the newest
  double first_session_weight = 1;  // Sessions: of the positives of a query's first session, which has no past to go by

  void check() const;
};

/// One training step's data. Every row is a query with some of its positives; all rows share the candidates.
struct Batch {
  std::vector<Row> queries;             // (rows)
  std::vector<Row> pairs;               // (rows) number of the pair that the row's first positive is
  std::vector<std::int64_t> offsets;    // (rows + 1) into the positives
  std::vector<Row> positive_pairs;      // (positives) number of the pair that each is
  std::vector<Row> positive_columns;    // (positives) place among the candidates
  std::vector<float> positive_weights;  // (positives) sum 1
  std::vector<Row> candidates;          // (columns) distinct item rows
  std::vector<float> log_weights;       // (columns) what a candidate's score gets in the sum: -logq_strength log P(it is here)
  Histories histories;                  // with a history: one reader a row
};

/// Arranges the positives of one epoch after the other.
///
/// Each query's positives are shuffled and cut into groups of at most group_size; the groups are shuffled; a batch is an equal
/// share of them. Every positive is used once an epoch. The number of batches does not change between epochs. Where histories are
/// what came before, positives stay in their order and the first group (or window) of a query has a random size, so that cuts
/// fall elsewhere in each epoch.
///
/// Every positive is in a given batch with probability 1 / batches. So an item of n positives is among the *distinct* candidates
/// of a batch with N draws with probability P = 1 - (1 - 1 / batches)^n (1 - q)^N, q its probability in a draw; weighing it with
/// 1 / P makes the sum over the batch an estimate of the sum over the catalogue. (For many batches this is the familiar 1 - (1 -
/// share)^batch_size; for few it stays right: with a single batch, P is 1.)
///
/// Source      Bengio, Senecal 2008 (importance-sampled softmax); Yi et al. 2019, "Sampling-bias-corrected neural modeling"
/// (logQ);
///             here P of a distinct candidate in place of the expected count
class BatchPlan {
 public:
  /// Keeps a reference to `interactions` and, where given, views of `lists`: a list a query that takes the place of its positives
  /// as its history (mode Others). Throws invalid_argument where the specification is out of range or nothing is positive.
  BatchPlan(const Interactions& interactions, const BatchSpec& spec, std::uint64_t seed, const ItemLists* lists = nullptr);

  Index batches_per_epoch() const { return batches_; }

  /// Writes batch number `batch` of `epoch`; the same for whoever asks, in any order. An epoch's first batch costs a pass over
  /// the positives, the others follow from it. Throws invalid_argument for a batch outside [0, batches_per_epoch()).
  void write(Index epoch, Index batch, Batch& out, const Threads& threads = Threads());

 private:
  /// Where a group begins in shuffled_. One a positive where rows are pairs, so nothing is kept that can be found again.
  struct Cut {
    Row query, begin;
  };

  struct Group {
    Row query;
    std::int64_t begin, end;  // into shuffled_
  };

  struct Range {
    std::int64_t begin, end;  // into the positives
  };

  bool ordered() const { return spec_.history == HistoryMode::kBefore || spec_.history == HistoryMode::kWindows; }
  Index unit() const { return spec_.history == HistoryMode::kWindows ? spec_.max_length : spec_.group_size; }
  RandomStream stream_of(Index epoch, Index query) const;
  void arrange(Index epoch, const Threads& threads);
  void shuffle_positives(Index epoch, Index query);
  template <class Use>
  void for_cuts(Index epoch, Index query, const Use& use) const;
  std::int64_t next_cut(Index epoch, Index query, std::int64_t cut) const;
  void prefetch(std::span<const Cut> cuts) const;
  Range session_of(Row query, std::int64_t place) const;
  double weight_of(const Group& row) const;
  double write_row(const Group& row, Batch& out);
  void write_others(const Group& row, std::int64_t begin, std::int64_t end, Batch& out);
  void write_before(const Group& row, Batch& out);
  void write_session(const Group& row, Batch& out);
  void write_window(const Group& window, Batch& out);
  void append_past(std::int64_t begin, std::int64_t end, Histories& out) const;
  void collect_candidates(Index epoch, Index batch, Batch& out);

  const Interactions& interactions_;
  ItemLists past_;  // what histories are made of
  BatchSpec spec_;
  std::uint64_t seed_;
  Index batches_ = 0, epoch_ = -1;
  std::vector<Row> shuffled_;      // positions of positives, grouped by query
  std::vector<Cut> cuts_;          // the epoch's groups, in their order
  std::vector<float> log_weight_;  // (items)
  std::vector<Row> column_;        // (items) place in the batch being written, -1 outside
  std::vector<Row> left_out_;      // scratch of a row: items that its history must not have
};

}  // namespace twotower::data
