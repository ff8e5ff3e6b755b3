#include "twotower/data/batch_plan.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <utility>

#include "twotower/base/check.hpp"
#include "twotower/base/memory.hpp"

namespace twotower::data {
namespace {

constexpr Index kQueries = 4096;  // arranged by one task

}  // namespace

void BatchSpec::check() const {
  check_at_least("BatchPlan", "batch_size", batch_size, 1);
  check_at_least("BatchPlan", "group_size", group_size, 1);
  check_in_range("BatchPlan", "logq_strength", logq_strength, 0, 1);
  check_in_range("BatchPlan", "query_balance", query_balance, 0, 1);
  check_at_least("BatchPlan", "max_length", max_length, 1);
  check_positive("BatchPlan", "first_session_weight", first_session_weight);
  if (history == HistoryMode::kWindows && group_size != 1)
    fail("BatchPlan", "group_size is " + std::to_string(group_size) + ", but must be 1 where histories are windows");
  negatives.check();
}

BatchPlan::BatchPlan(const Interactions& interactions, const BatchSpec& spec, std::uint64_t seed, const ItemLists* lists)
    : interactions_(interactions),
      past_(lists ? *lists
                  : ItemLists{interactions.positives().offsets, interactions.positives().items, interactions.history_weights()}),
      spec_(spec),
      seed_(seed) {
  spec.check();
  const Index positives = interactions.num_positives();
  check_at_least("BatchPlan", "number of positives", positives, 1);

  if (lists) {
    lists->check("BatchPlan", interactions.num_queries(), interactions.num_items());
    if (spec.history != HistoryMode::kOthers) fail("BatchPlan", "lists are given, but histories are not those of mode Others");
  }

  if (spec.history == HistoryMode::kSessions && interactions.sessions().empty())
    fail("BatchPlan", "histories are of mode Sessions, but the interactions have no sessions");

  std::int64_t groups = 0;  // at least so many, wherever the cuts fall
  for (Index query = 0; query < interactions.num_queries(); ++query)
    groups += (std::ssize(interactions.positives().of(query)) + unit() - 1) / unit();
  batches_ = std::min<Index>((positives + spec.batch_size - 1) / spec.batch_size, groups);

  const double log_elsewhere = std::log1p(-1 / static_cast<double>(batches_));  // of one positive; -inf with a single batch
  const auto counts = interactions.item_counts();
  log_weight_.resize(counts.size());
  for (std::size_t item = 0; item < counts.size(); ++item) {
    const double share = counts[item] / static_cast<double>(positives);
    const double draw = spec.negatives.probability(share, interactions.num_items());
    const double undrawn = spec.negatives.count > 0 ? static_cast<double>(spec.negatives.count) * std::log1p(-draw) : 0;
    const double log_absent = (counts[item] > 0 ? counts[item] * log_elsewhere : 0) + undrawn;
    // An item that cannot be drawn never is a candidate; its weight does not matter, but must be finite.
    log_weight_[item] = log_absent < 0 ? static_cast<float>(-spec.logq_strength * std::log(-std::expm1(log_absent))) : 0;
  }
  column_.assign(counts.size(), -1);
  shuffled_.reserve(static_cast<std::size_t>(positives));
  prefer_huge_pages(shuffled_.data(), shuffled_.capacity() * sizeof(Row));
  shuffled_.resize(static_cast<std::size_t>(positives));
}

RandomStream BatchPlan::stream_of(Index epoch, Index query) const {
  return {seed_, Purpose::kGroup, static_cast<std::uint64_t>(epoch), static_cast<std::uint64_t>(query)};
}

void BatchPlan::arrange(Index epoch, const Threads& threads) {
  epoch_ = -1;  // until it is done
  const Index queries = interactions_.num_queries(), blocks = (queries + kQueries - 1) / kQueries;
  std::vector<std::size_t> firsts(static_cast<std::size_t>(blocks) + 1);
  threads.for_blocks(queries, kQueries, [&](Index begin, Index end, Index block) {
    std::size_t count = 0;
    for (Index query = begin; query < end; ++query) {
      shuffle_positives(epoch, query);
      for_cuts(epoch, query, [&](std::int64_t) { ++count; });
    }
    firsts[static_cast<std::size_t>(block) + 1] = count;
  });
  std::partial_sum(firsts.begin(), firsts.end(), firsts.begin());
  cuts_.resize(firsts.back());
  threads.for_blocks(queries, kQueries, [&](Index begin, Index end, Index block) {
    Cut* next = cuts_.data() + firsts[static_cast<std::size_t>(block)];
    for (Index query = begin; query < end; ++query)
      for_cuts(epoch, query, [&](std::int64_t cut) { *next++ = {static_cast<Row>(query), static_cast<Row>(cut)}; });
  });
  RandomStream(seed_, Purpose::kOrder, static_cast<std::uint64_t>(epoch)).shuffle(std::span(cuts_));
  epoch_ = epoch;
}

/// Within a query, or with sessions within each of its sessions; not at all where the past matters.
void BatchPlan::shuffle_positives(Index epoch, Index query) {
  const auto& offsets = interactions_.positives().offsets;
  const auto begin = offsets[static_cast<std::size_t>(query)], end = offsets[static_cast<std::size_t>(query) + 1];
  const auto places = std::span(shuffled_).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
  std::iota(places.begin(), places.end(), static_cast<Row>(begin));
  if (places.empty() || ordered()) return;
  RandomStream stream = stream_of(epoch, query);
  if (spec_.history != HistoryMode::kSessions) {
    stream.shuffle(places);
    return;
  }
  for (auto first = begin; first < end;) {
    const Range session = session_of(static_cast<Row>(query), first);
    stream.shuffle(places.subspan(static_cast<std::size_t>(first - begin), static_cast<std::size_t>(session.end - first)));
    first = session.end;
  }
}

/// Calls use(begin) for each group of a query.
template <class Use>
void BatchPlan::for_cuts(Index epoch, Index query, const Use& use) const {
  const auto& offsets = interactions_.positives().offsets;
  const auto begin = offsets[static_cast<std::size_t>(query)], end = offsets[static_cast<std::size_t>(query) + 1];
  for (auto cut = begin; cut < end; cut = next_cut(epoch, query, cut)) use(cut);
}

/// Where the group that begins at `cut` ends.
std::int64_t BatchPlan::next_cut(Index epoch, Index query, std::int64_t cut) const {
  const auto& offsets = interactions_.positives().offsets;
  const auto begin = offsets[static_cast<std::size_t>(query)], end = offsets[static_cast<std::size_t>(query) + 1];
  if (spec_.history == HistoryMode::kSessions)
    return std::min<std::int64_t>(session_of(static_cast<Row>(query), cut).end, cut + unit());
  const auto size = ordered() && cut == begin ? 1 + stream_of(epoch, query).below(std::min<std::int64_t>(unit(), end - begin))
                                              : std::int64_t{unit()};
  return std::min(end, cut + size);
}

/// A batch's groups lie all over the data: asks for what write will read of them. Inline, since GCC drops
/// calls of a function that does nothing but this.
[[gnu::always_inline]] inline void BatchPlan::prefetch(std::span<const Cut> cuts) const {
  for (const Cut& cut : cuts) __builtin_prefetch(&shuffled_[static_cast<std::size_t>(cut.begin)]);
  for (const Cut& cut : cuts) {
    const auto positive = static_cast<std::size_t>(shuffled_[static_cast<std::size_t>(cut.begin)]);
    __builtin_prefetch(&interactions_.positives().items[positive]);
    __builtin_prefetch(&interactions_.pairs()[positive]);
    __builtin_prefetch(&interactions_.positives().offsets[static_cast<std::size_t>(cut.query)]);
  }
}

void BatchPlan::write(Index epoch, Index batch, Batch& out, const Threads& threads) {
  if (batch < 0 || batch >= batches_)
    fail("BatchPlan", "batch is " + std::to_string(batch) + ", but must be in [0, " + std::to_string(batches_) + ")");
  if (epoch != epoch_) arrange(epoch, threads);
  const auto groups = static_cast<Index>(cuts_.size());
  const auto first = static_cast<std::size_t>(groups * batch / batches_),
             last = static_cast<std::size_t>(groups * (batch + 1) / batches_);

  out.queries.clear();
  out.pairs.clear();
  out.offsets.assign(1, 0);
  out.positive_pairs.clear();
  out.positive_columns.clear();
  out.positive_weights.clear();
  out.candidates.clear();
  out.histories.clear();
  const auto cuts = std::span(cuts_).subspan(first, last - first);
  prefetch(cuts);
  double total = 0;
  for (const Cut& cut : cuts) {
    const Group group{cut.query, cut.begin, next_cut(epoch, cut.query, cut.begin)};
    if (spec_.history == HistoryMode::kWindows) {
      for (auto place = group.begin; place < group.end; ++place) total += write_row({group.query, place, place + 1}, out);
      write_window(group, out);
      continue;
    }
    total += write_row(group, out);
    if (spec_.history == HistoryMode::kOthers)
      write_others(group, past_.offsets[static_cast<std::size_t>(group.query)],
                   past_.offsets[static_cast<std::size_t>(group.query) + 1], out);
    if (spec_.history == HistoryMode::kBefore) write_before(group, out);
    if (spec_.history == HistoryMode::kSessions) write_session(group, out);
  }
  for (float& weight : out.positive_weights) weight = static_cast<float>(weight / total);
  collect_candidates(epoch, batch, out);
}

/// The query's positives in the session of its positive at `place`.
BatchPlan::Range BatchPlan::session_of(Row query, std::int64_t place) const {
  const auto& offsets = interactions_.positives().offsets;
  const auto& sessions = interactions_.sessions();
  const auto [begin, end] = std::equal_range(sessions.begin() + offsets[static_cast<std::size_t>(query)],
                                             sessions.begin() + offsets[static_cast<std::size_t>(query) + 1],
                                             sessions[static_cast<std::size_t>(place)]);
  return {begin - sessions.begin(), end - sessions.begin()};
}

/// What a row's positives weigh beside their own weights.
double BatchPlan::weight_of(const Group& row) const {
  const auto first = interactions_.positives().offsets[static_cast<std::size_t>(row.query)],
             last = interactions_.positives().offsets[static_cast<std::size_t>(row.query) + 1];
  const bool by_session = spec_.history == HistoryMode::kSessions;
  const Range range = by_session ? session_of(row.query, row.begin) : Range{first, last};
  const double balance =
      spec_.query_balance > 0 ? std::pow(static_cast<double>(range.end - range.begin), -spec_.query_balance) : 1;
  return by_session && range.begin == first ? balance * spec_.first_session_weight : balance;
}

/// Appends a row of the batch, without its history; the sum of its positives' weights.
double BatchPlan::write_row(const Group& row, Batch& out) {
  const double weight_of_each = weight_of(row);
  double total = 0;
  out.queries.push_back(row.query);
  out.pairs.push_back(interactions_.pairs()[static_cast<std::size_t>(shuffled_[static_cast<std::size_t>(row.begin)])]);
  for (auto place = row.begin; place < row.end; ++place) {
    const auto positive = static_cast<std::size_t>(shuffled_[static_cast<std::size_t>(place)]);
    const Row item = interactions_.positives().items[positive];
    const double weight =
        weight_of_each * (interactions_.weights().empty() ? 1.0 : static_cast<double>(interactions_.weights()[positive]));
    Row& column = column_[static_cast<std::size_t>(item)];
    if (column < 0) {
      column = static_cast<Row>(out.candidates.size());
      out.candidates.push_back(item);
    }
    out.positive_pairs.push_back(interactions_.pairs()[positive]);
    out.positive_columns.push_back(column);
    out.positive_weights.push_back(static_cast<float>(weight));
    total += weight;
  }
  out.offsets.push_back(std::ssize(out.positive_columns));
  return total;
}

/// The newest of the past [begin, end) that are not the row's own items: an item that came twice must not give itself away.
void BatchPlan::write_others(const Group& row, std::int64_t begin, std::int64_t end, Batch& out) {
  left_out_.clear();
  for (auto place = row.begin; place < row.end; ++place)
    left_out_.push_back(interactions_.positives().items[static_cast<std::size_t>(shuffled_[static_cast<std::size_t>(place)])]);
  std::sort(left_out_.begin(), left_out_.end());
  Histories& histories = out.histories;
  const auto start = histories.items.size();
  for (auto place = end; place-- > begin && std::ssize(histories.items) < static_cast<Index>(start) + spec_.max_length;) {
    const Row item = past_.items[static_cast<std::size_t>(place)];
    if (std::binary_search(left_out_.begin(), left_out_.end(), item)) continue;
    histories.items.push_back(item);
    if (!past_.weights.empty()) histories.weights.push_back(past_.weights[static_cast<std::size_t>(place)]);
  }
  const auto found = static_cast<std::ptrdiff_t>(start);
  std::reverse(histories.items.begin() + found, histories.items.end());
  if (!past_.weights.empty()) std::reverse(histories.weights.begin() + found, histories.weights.end());
  histories.end_sequence();
  histories.lengths.push_back(static_cast<std::int32_t>(histories.items.size() - start));
  histories.end_readers();
}

void BatchPlan::write_before(const Group& row, Batch& out) {
  const auto start =
      std::max(interactions_.positives().offsets[static_cast<std::size_t>(row.query)], row.begin - spec_.max_length);
  append_past(start, row.begin, out.histories);
  out.histories.lengths.push_back(static_cast<std::int32_t>(row.begin - start));
  out.histories.end_readers();
}

void BatchPlan::write_session(const Group& row, Batch& out) {
  const auto first = interactions_.positives().offsets[static_cast<std::size_t>(row.query)];
  const Range session = session_of(row.query, row.begin);
  if (session.begin == first) {
    write_others(row, first, session.end, out);
    return;
  }
  const auto start = std::max<std::int64_t>(first, session.begin - spec_.max_length);
  append_past(start, session.begin, out.histories);
  out.histories.lengths.push_back(static_cast<std::int32_t>(session.begin - start));
  out.histories.end_readers();
}

/// The positive before the window belongs to its sequence, so that the window's first one has something to go by too.
void BatchPlan::write_window(const Group& window, Batch& out) {
  const auto start = std::max(interactions_.positives().offsets[static_cast<std::size_t>(window.query)], window.begin - 1);
  append_past(start, window.end - 1, out.histories);
  for (auto place = window.begin; place < window.end; ++place)
    out.histories.lengths.push_back(static_cast<std::int32_t>(place - start));
  out.histories.end_readers();
}

/// Appends the positives [begin, end) as a sequence.
void BatchPlan::append_past(std::int64_t begin, std::int64_t end, Histories& out) const {
  out.items.insert(out.items.end(), past_.items.begin() + begin, past_.items.begin() + end);
  if (!past_.weights.empty()) out.weights.insert(out.weights.end(), past_.weights.begin() + begin, past_.weights.begin() + end);
  out.end_sequence();
}

/// Adds the drawn items, weighs all, and leaves column_ as it was.
void BatchPlan::collect_candidates(Index epoch, Index batch, Batch& out) {
  RandomStream stream(seed_, Purpose::kNegative, static_cast<std::uint64_t>(epoch), static_cast<std::uint64_t>(batch));
  for (Index draw = 0; draw < spec_.negatives.count; ++draw) {
    const Row item = spec_.negatives.draw(interactions_, stream);
    Row& column = column_[static_cast<std::size_t>(item)];
    if (column >= 0) continue;
    column = static_cast<Row>(out.candidates.size());
    out.candidates.push_back(item);
  }
  out.log_weights.clear();
  for (const Row item : out.candidates) {
    out.log_weights.push_back(log_weight_[static_cast<std::size_t>(item)]);
    column_[static_cast<std::size_t>(item)] = -1;
  }
}

}  // namespace twotower::data
