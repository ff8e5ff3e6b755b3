#include <pybind11/stl.h>

#include <memory>
#include <optional>
#include <tuple>

#include "bindings.hpp"
#include "filters.hpp"
#include "numpy.hpp"
#include "side_data.hpp"
#include "specs.hpp"
#include "twotower/base/check.hpp"
#include "twotower/model/pair_scorer.hpp"
#include "twotower/ranking/rank.hpp"
#include "twotower/train/multi_task_trainer.hpp"
#include "twotower/train/pair_trainer.hpp"

namespace twotower::bindings {
namespace {

using Model = model::PairScorer<float>;
using train::ListLossKind;
using train::MultiTaskTrainer;
using train::PairTrainer;

// --- the model ----------------------------------------------------------------------------------------------------------

using Encode = void (Model::*)(const model::SideData&, const model::TowerRows&, Rows<float>, const Threads&) const;

py::array_t<float> encoded(const Model& self, Encode encode, Index width, const BoundSide& side, const model::TowerRows& rows,
                           int num_threads) {
  auto out = new_matrix<float>(std::ssize(rows.entities), width);
  auto map = rows_of(out);
  const py::gil_scoped_release release;
  (self.*encode)(side.data, rows, map, Threads(num_threads));
  return out;
}

py::array_t<float> user_vectors(const Model& self, const BoundSide& side, const py::object& rows, const py::object& contexts,
                                const py::object& history, int num_threads) {
  const auto wanted = vector_of<Row>(rows, "user_vectors", "rows");
  const auto context_rows = optional_vector_of<Row>(contexts, "user_vectors", "contexts").value_or(std::span<const Row>{});
  const data::Histories histories = histories_of(history, wanted.size(), side, "user_vectors");
  return encoded(self, &Model::user_vectors, self.user_vector_width(), side,
                 {wanted, context_rows, history.is_none() ? nullptr : &histories}, num_threads);
}

py::array_t<float> item_vectors(const Model& self, const BoundSide& side, const py::object& rows, int num_threads) {
  return encoded(self, &Model::item_vectors, self.item_vector_width(), side, {vector_of<Row>(rows, "item_vectors", "rows")},
                 num_threads);
}

py::array_t<float> score(const Model& self, const py::object& users, const py::object& items, const py::object& user_rows,
                         const py::object& item_rows, const py::object& given, int num_threads) {
  const auto user_matrix = matrix_of<float>(users, "score", "users");
  const auto item_matrix = matrix_of<float>(items, "score", "items");
  const auto of_user = vector_of<Row>(user_rows, "score", "user_rows");
  const auto of_item = vector_of<Row>(item_rows, "score", "item_rows");
  const auto numbers = optional_vector_of<float>(given, "score", "given").value_or(std::span<const float>{});
  auto scores = new_vector<float>(std::ssize(of_user));
  const auto view = span_of(scores);
  {
    const py::gil_scoped_release release;
    self.score(user_matrix, item_matrix, of_user, of_item, numbers, view, Threads(num_threads));
  }
  return scores;
}

void bind_pair_scorer(py::module_& m) {
  py::class_<Model>(m, "PairScorer", "Two towers that meet in a network, and their parameters (float32).")
      .def(
          py::init([](const model::TowerSpec& user, const model::TowerSpec& item,
                      const std::optional<model::TowerSpec>& user_bias, const std::optional<model::TowerSpec>& item_bias,
                      bool vectors, bool product, bool dot, bool given, bool sum, Index split, const std::vector<LayerSpec>& head,
                      const TableTuples& tables, double offset, double deviation, std::uint64_t seed) {
            const model::Meeting meeting{vectors, product, dot, given, sum, split};
            const Index width = meeting.width(user.layers.out_width(), item.layers.out_width());
            const model::PairScorerSpec spec{
                user, item, user_bias, item_bias, meeting, sequential(width, head), table_specs(tables), offset, deviation, seed};
            const py::gil_scoped_release release;
            return std::make_unique<Model>(spec);
          }),
          py::kw_only(), py::arg("user"), py::arg("item"), py::arg("user_bias") = py::none(), py::arg("item_bias") = py::none(),
          py::arg("vectors") = false, py::arg("product") = false, py::arg("dot") = false, py::arg("given") = false,
          py::arg("sum") = false, py::arg("split") = 0, py::arg("head"), py::arg("tables"), py::arg("offset") = 0.0,
          py::arg("deviation") = 0.01, py::arg("seed") = 0)
      .def_property_readonly("user_vector_width", &Model::user_vector_width)
      .def_property_readonly("item_vector_width", &Model::item_vector_width)
      .def(
          "parameters", [](const Model& self) { return parameters_of(self.parameters()); }, "Copies of all parameters by name.")
      .def(
          "set_parameters",
          [](Model& self, const py::dict& named_arrays, bool grow) { set_parameters(self.parameters(), named_arrays, grow); },
          py::arg("parameters"), py::kw_only(), py::arg("grow") = false)
      .def("user_vectors", &user_vectors, py::arg("data"), py::arg("rows"), py::kw_only(), py::arg("contexts") = py::none(),
           py::arg("history") = py::none(), py::arg("num_threads") = -1)
      .def("item_vectors", &item_vectors, py::arg("data"), py::arg("rows"), py::kw_only(), py::arg("num_threads") = -1)
      .def("score", &score, py::arg("users"), py::arg("items"), py::arg("user_rows"), py::arg("item_rows"), py::kw_only(),
           py::arg("given") = py::none(), py::arg("num_threads") = -1,
           "Scores of pairs, float32 (n), of vectors as user_vectors and item_vectors give them.");
}

// --- training -----------------------------------------------------------------------------------------------------------

train::ListLoss list_loss(const std::string& kind, double delta, Index cutoff, const std::vector<double>& cuts) {
  static const Kinds<ListLossKind> kinds{{"squared", ListLossKind::kSquared},   {"huber", ListLossKind::kHuber},
                                         {"logistic", ListLossKind::kLogistic}, {"ordinal", ListLossKind::kOrdinal},
                                         {"bpr", ListLossKind::kBpr},           {"lambda", ListLossKind::kLambda},
                                         {"softmax", ListLossKind::kSoftmax}};
  return {named(kinds, kind, "PairTrainer", "loss"), delta, cutoff, cuts};
}

/// What every trainer of pairs has: run_steps, finish, and where it stands.
template <class Bound>
void def_steps(py::class_<Bound>& bound) {
  bound.def_property_readonly("steps_per_epoch", [](const Bound& self) { return self.trainer->steps_per_epoch(); })
      .def_property_readonly("total_steps", [](const Bound& self) { return self.trainer->total_steps(); })
      .def_property_readonly("step", [](const Bound& self) { return self.trainer->step(); })
      .def_property_readonly("learning_rate", [](const Bound& self) { return self.trainer->learning_rate(); })
      .def(
          "run_steps",
          [](Bound& self, Index count, int num_threads) {
            const train::Progress progress = [&] {
              const py::gil_scoped_release release;
              return self.trainer->run_steps(count, Threads(num_threads));
            }();
            return py::make_tuple(progress.steps, progress.examples, progress.loss);
          },
          py::arg("count"), py::arg("num_threads") = -1, "Runs up to count steps: (steps, examples, mean loss).")
      .def(
          "finish",
          [](Bound& self, int num_threads) {
            const py::gil_scoped_release release;
            self.trainer->finish(Threads(num_threads));
          },
          py::arg("num_threads") = -1, "Brings all parameters up to the last step.");
}

/// A trainer, and what it looks at.
struct BoundPairTrainer {
  py::list kept;
  std::optional<data::ItemLists> pools, lists;
  std::unique_ptr<PairTrainer> trainer;
};

void bind_pair_trainer(py::module_& m) {
  py::class_<BoundPairTrainer> bound(
      m, "PairTrainer", "Trains a PairScorer some steps at a time; Python keeps the bar, the clock and the best state.");
  bound.def(
      py::init([](const py::object& model, const py::object& users, const py::object& items, const py::object& interactions,
                  Index batch_size, Index group_size, double user_balance, Index negatives, const std::string& loss, double delta,
                  Index cutoff, const std::vector<double>& cuts, const std::string& optimizer, double weight_decay,
                  const std::string& schedule, double learning_rate, double warmup_share, double final_share, Index epochs,
                  double shrink, double bias_shrink, std::uint64_t seed, const std::string& history, Index max_length,
                  double first_session_weight, const py::object& targets, const py::object& pools, const py::object& lists,
                  const py::object& given_users, const py::object& given_items) {
        auto made = std::make_unique<BoundPairTrainer>();
        for (const py::object& kept : {model, users, items, interactions, targets, pools, lists, given_users, given_items})
          made->kept.append(kept);
        train::PairTrainerSpec spec;
        data::BatchSpec& batches = spec.pairs.batches;
        batches.batch_size = batch_size;
        batches.group_size = group_size;
        batches.query_balance = user_balance;
        batches.history = history_named(history, "PairTrainer");
        batches.max_length = max_length;
        batches.first_session_weight = first_session_weight;
        spec.pairs.negatives = negatives;
        spec.loss = list_loss(loss, delta, cutoff, cuts);
        spec.optimizer.kind = optimizer_named(optimizer, "PairTrainer");
        spec.optimizer.weight_decay = weight_decay;
        spec.schedule = {schedule_named(schedule, "PairTrainer"), learning_rate, warmup_share, final_share};
        spec.epochs = epochs;
        spec.shrink = shrink;
        spec.bias_shrink = bias_shrink;
        spec.seed = seed;
        train::PairExtras extras;
        extras.targets = optional_vector_of<float>(targets, "PairTrainer", "targets").value_or(std::span<const float>{});
        if (!pools.is_none()) extras.pools = &made->pools.emplace(item_lists(pools, "PairTrainer", "pools"));
        if (!lists.is_none()) extras.lists = &made->lists.emplace(item_lists(lists, "PairTrainer", "lists"));
        if (!given_users.is_none()) extras.given_users.emplace(matrix_of<float>(given_users, "PairTrainer", "given_users"));
        if (!given_items.is_none()) extras.given_items.emplace(matrix_of<float>(given_items, "PairTrainer", "given_items"));
        Model& target = model.cast<Model&>();
        const auto& user_data = users.cast<const BoundSide&>().data;
        const auto& item_data = items.cast<const BoundSide&>().data;
        const auto& pairs = interactions.cast<const data::Interactions&>();
        const py::gil_scoped_release release;
        made->trainer = std::make_unique<PairTrainer>(target, user_data, item_data, pairs, spec, extras);
        return made;
      }),
      py::arg("model"), py::arg("users"), py::arg("items"), py::arg("interactions"), py::kw_only(), py::arg("batch_size"),
      py::arg("group_size"), py::arg("user_balance") = 0.0, py::arg("negatives") = 0, py::arg("loss"), py::arg("delta") = 1.0,
      py::arg("cutoff") = 10, py::arg("cuts") = std::vector<double>{}, py::arg("optimizer"), py::arg("weight_decay") = 0.0,
      py::arg("schedule"), py::arg("learning_rate"), py::arg("warmup_share") = 0.0, py::arg("final_share"), py::arg("epochs"),
      py::arg("shrink") = 0.0, py::arg("bias_shrink") = 0.0, py::arg("seed"), py::arg("history") = "none",
      py::arg("max_length") = 50, py::arg("first_session_weight") = 1.0, py::arg("targets") = py::none(),
      py::arg("pools") = py::none(), py::arg("lists") = py::none(), py::arg("given_users") = py::none(),
      py::arg("given_items") = py::none());
  def_steps(bound);
}

/// A trainer for two tasks, and what it looks at.
struct BoundMultiTaskTrainer {
  py::list kept;
  std::optional<data::ItemLists> lists;
  std::unique_ptr<MultiTaskTrainer> trainer;
};

void bind_multi_task_trainer(py::module_& m) {
  py::class_<BoundMultiTaskTrainer> bound(
      m, "MultiTaskTrainer",
      "Trains a PairScorer some steps at a time: softmax over its towers' vectors, and ratings by its head.");
  bound.def(
      py::init([](const py::object& model, const py::object& users, const py::object& items, const py::object& interactions,
                  const py::object& targets, double retrieval_weight, double rating_weight, double temperature, Index bias_table,
                  Index batch_size, Index group_size, double logq_strength, double user_balance, Index negatives,
                  double popularity_share, const std::string& loss, double delta, const std::string& optimizer,
                  double weight_decay, const std::string& schedule, double learning_rate, double warmup_share, double final_share,
                  Index epochs, double shrink, double bias_shrink, std::uint64_t seed, const std::string& history,
                  Index max_length, double first_session_weight, const py::object& lists) {
        constexpr const char* kName = "MultiTaskTrainer";
        auto made = std::make_unique<BoundMultiTaskTrainer>();
        for (const py::object& kept : {model, users, items, interactions, targets, lists}) made->kept.append(kept);
        train::MultiTaskSpec spec;
        spec.batches = {batch_size,
                        group_size,
                        logq_strength,
                        user_balance,
                        {negatives, popularity_share},
                        history_named(history, kName),
                        max_length,
                        first_session_weight};
        spec.retrieval_weight = retrieval_weight;
        spec.rating_weight = rating_weight;
        spec.temperature = temperature;
        spec.bias_table = bias_table;
        spec.rating = list_loss(loss, delta, 1, {});
        spec.optimizer.kind = optimizer_named(optimizer, kName);
        spec.optimizer.weight_decay = weight_decay;
        spec.schedule = {schedule_named(schedule, kName), learning_rate, warmup_share, final_share};
        spec.epochs = epochs;
        spec.shrink = shrink;
        spec.bias_shrink = bias_shrink;
        spec.seed = seed;
        const auto ratings = vector_of<float>(targets, kName, "targets");
        if (!lists.is_none()) made->lists.emplace(item_lists(lists, kName, "lists"));
        Model& target = model.cast<Model&>();
        const auto& user_data = users.cast<const BoundSide&>().data;
        const auto& item_data = items.cast<const BoundSide&>().data;
        const auto& pairs = interactions.cast<const data::Interactions&>();
        const data::ItemLists* views = made->lists ? &*made->lists : nullptr;
        const py::gil_scoped_release release;
        made->trainer = std::make_unique<MultiTaskTrainer>(target, user_data, item_data, pairs, spec, ratings, views);
        return made;
      }),
      py::arg("model"), py::arg("users"), py::arg("items"), py::arg("interactions"), py::kw_only(), py::arg("targets"),
      py::arg("retrieval_weight"), py::arg("rating_weight"), py::arg("temperature"), py::arg("bias_table") = -1,
      py::arg("batch_size"), py::arg("group_size"), py::arg("logq_strength") = 1.0, py::arg("user_balance") = 0.0,
      py::arg("negatives") = 0, py::arg("popularity_share") = 0.0, py::arg("loss") = "squared", py::arg("delta") = 1.0,
      py::arg("optimizer"), py::arg("weight_decay") = 0.0, py::arg("schedule"), py::arg("learning_rate"),
      py::arg("warmup_share") = 0.0, py::arg("final_share"), py::arg("epochs"), py::arg("shrink") = 0.0,
      py::arg("bias_shrink") = 0.0, py::arg("seed"), py::arg("history") = "none", py::arg("max_length") = 50,
      py::arg("first_session_weight") = 1.0, py::arg("lists") = py::none());
  def_steps(bound);
}

// --- lists --------------------------------------------------------------------------------------------------------------

/// Lists of k for each user, written by rank_into(scorer, rows, scores) without the GIL.
template <class RankInto>
py::tuple ranked(const char* function, const Model& model, const py::object& users, const py::object& items, Index k,
                 const RankInto& rank_into) {
  const auto user_matrix = matrix_of<float>(users, function, "users");
  const auto item_matrix = matrix_of<float>(items, function, "items");
  check_at_least(function, "k", k, 1);  // the results have k columns
  auto rows = new_matrix<Row>(user_matrix.rows(), k);
  auto scores = new_matrix<float>(user_matrix.rows(), k);
  auto row_view = rows_of(rows);
  auto score_view = rows_of(scores);
  {
    const py::gil_scoped_release release;
    rank_into(ranking::Scorer{model, user_matrix, item_matrix}, row_view, score_view);
  }
  return py::make_tuple(rows, scores);
}

py::tuple rank(const Model& scorer, const py::object& users, const py::object& items, const py::object& offsets,
               const py::object& candidates, Index k, const py::object& given, int num_threads) {
  const auto list_offsets = vector_of<std::int64_t>(offsets, "rank", "offsets");
  const auto item_rows = vector_of<Row>(candidates, "rank", "candidates");
  const auto numbers = optional_vector_of<float>(given, "rank", "given").value_or(std::span<const float>{});
  const Threads threads(num_threads);
  return ranked("rank", scorer, users, items, k, [&](const ranking::Scorer& all, Rows<Row> rows, Rows<float> scores) {
    ranking::rank(all, list_offsets, item_rows, numbers, k, threads, rows, scores);
  });
}

py::tuple rank_all(const FilterArguments& filter_arguments, int num_threads, const Model& scorer, const py::object& users,
                   const py::object& items, Index k) {
  const retrieval::Filters filters = filter_arguments.view("rank_all");
  const Threads threads(num_threads);
  return ranked("rank_all", scorer, users, items, k, [&](const ranking::Scorer& all, Rows<Row> rows, Rows<float> scores) {
    ranking::rank_all(all, k, filters, threads, rows, scores);
  });
}

py::tuple retrieve_and_rank(const FilterArguments& filter_arguments, int num_threads, const retrieval::ItemIndex& index,
                            const py::object& queries, Index candidates, const Model& scorer, const py::object& users,
                            const py::object& items, Index k, float mean, float deviation) {
  constexpr const char* kName = "retrieve_and_rank";
  const auto vectors = matrix_of<float>(queries, kName, "queries");
  const retrieval::Filters filters = filter_arguments.view(kName);
  const Threads threads(num_threads);
  return ranked(kName, scorer, users, items, k, [&](const ranking::Scorer& all, Rows<Row> rows, Rows<float> scores) {
    ranking::retrieve_and_rank(index, vectors, candidates, filters, all, {mean, deviation}, k, threads, rows, scores);
  });
}

void bind_lists(py::module_& m) {
  m.def("rank", &rank, py::arg("scorer"), py::arg("users"), py::arg("items"), py::arg("offsets"), py::arg("candidates"),
        py::arg("k"), py::arg("given") = py::none(), py::arg("num_threads") = -1,
        "The k best of each user's candidates by the scorer, best first, equal scores by the smaller row: int32 rows and\n"
        "float32 scores, both (users, k). users and items are vectors as user_vectors and item_vectors give them; user i has\n"
        "candidates[offsets[i]:offsets[i + 1]], each item once. Where fewer are left: row -1, score -inf.");
  const auto def_filtered = [&](const auto&... filters) {
    m.def("rank_all", with_filters(&rank_all), py::arg("scorer"), py::arg("users"), py::arg("items"), py::arg("k"), filters...,
          "rank with the whole catalogue as everybody's candidates, less what the filters of ItemIndex.top_k leave out.");
    m.def("retrieve_and_rank", with_filters(&retrieve_and_rank), py::arg("index"), py::arg("queries"), py::arg("candidates"),
          py::arg("scorer"), py::arg("users"), py::arg("items"), py::arg("k"), py::arg("mean") = 0.0F,
          py::arg("deviation") = 1.0F, filters...,
          "rank with the best `candidates` of index.top_k as each user's candidates; a scorer that reads a given number reads\n"
          "(score - mean) / deviation of the index's score, float32.");
  };
  std::apply(def_filtered, filter_names());
}

}  // namespace

void bind_ranking(py::module_& m) {
  bind_pair_scorer(m);
  bind_pair_trainer(m);
  bind_multi_task_trainer(m);
  bind_lists(m);
}

}  // namespace twotower::bindings
