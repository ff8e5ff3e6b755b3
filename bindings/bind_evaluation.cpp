#include <pybind11/stl.h>

#include <string>
#include <vector>

#include "bindings.hpp"
#include "numpy.hpp"
#include "twotower/base/parallel.hpp"
#include "twotower/evaluation/catalogue_metrics.hpp"
#include "twotower/evaluation/ranking_metrics.hpp"

namespace twotower::bindings {
namespace {

py::array_t<double> ranking_metrics(const py::object& ranked, const py::object& relevant_offsets,
                                    const py::object& relevant_items, const py::object& relevant_counts,
                                    const std::vector<std::string>& metrics, const std::vector<Index>& cutoffs, int num_threads) {
  const auto lists = matrix_of<Row>(ranked, "ranking_metrics", "ranked");
  const evaluation::RelevantItems relevant{vector_of<std::int64_t>(relevant_offsets, "ranking_metrics", "relevant_offsets"),
                                           vector_of<Row>(relevant_items, "ranking_metrics", "relevant_items"),
                                           vector_of<std::int64_t>(relevant_counts, "ranking_metrics", "relevant_counts")};
  const auto measures = evaluation::ranking_measures(metrics, cutoffs);
  const Threads threads(num_threads);
  auto values = new_matrix<double>(static_cast<Index>(measures.size()), lists.rows());
  auto value_view = rows_of(values);
  {
    const py::gil_scoped_release release;
    evaluation::ranking_metrics(lists, relevant, measures, threads, value_view);
  }
  return values;
}

py::array_t<double> catalogue_metrics(const py::object& ranked, const py::object& item_counts,
                                      const std::vector<std::string>& metrics, const std::vector<Index>& cutoffs) {
  const auto lists = matrix_of<Row>(ranked, "catalogue_metrics", "ranked");
  const auto counts = vector_of<double>(item_counts, "catalogue_metrics", "item_counts");
  const auto measures = evaluation::catalogue_measures(metrics, cutoffs);
  auto values = new_vector<double>(static_cast<Index>(measures.size()));
  const auto value_view = span_of(values);
  {
    const py::gil_scoped_release release;
    evaluation::catalogue_metrics(lists, counts, measures, value_view);
  }
  return values;
}

}  // namespace

void bind_evaluation(py::module_& m) {
  m.def("ranking_metrics", &ranking_metrics, py::arg("ranked"), py::arg("relevant_offsets"), py::arg("relevant_items"),
        py::arg("relevant_counts"), py::arg("metrics"), py::arg("cutoffs"), py::arg("num_threads") = -1,
        "Metrics of each query's list, float64 (len(metrics), queries): entry i is metrics[i] at cutoffs[i]. ranked: item rows, "
        "best\n"
        "first, -1 where a list is shorter. relevant_counts counts relevant items that no list can hold too. Metrics: hits, "
        "hit_rate,\n"
        "recall, capped_recall, precision, ndcg, mrr, map.");
  m.def("catalogue_metrics", &catalogue_metrics, py::arg("ranked"), py::arg("item_counts"), py::arg("metrics"),
        py::arg("cutoffs"), "Metrics of all lists together, float64 (len(metrics)): coverage, novelty in bits.");
}

}  // namespace twotower::bindings
