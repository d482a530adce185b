#include "find.hpp"

#include <string>
#include <utility>

#include "../sdk/server.hpp"
#include "dicom_scp.hpp"

namespace py = pybind11;

namespace orthanc_async::callbacks {

namespace {

struct Find {
    using Answers = OrthancPluginFindAnswers;
    using Query = OrthancPluginFindQuery;
    static constexpr const char* what = "C-FIND";
    static constexpr Family family = Family::Find;
};

struct Worklist {
    using Answers = OrthancPluginWorklistAnswers;
    using Query = OrthancPluginWorklistQuery;
    static constexpr const char* what = "worklist C-FIND";
    static constexpr Family family = Family::Worklist;
};

template <class Kind> class FindQuestion final : public Question {
public:
    using Answers = sdk::Borrowed<typename Kind::Answers>;
    using Query = sdk::Borrowed<typename Kind::Query>;

    FindQuestion(std::shared_ptr<Answers> answers, std::shared_ptr<Query> query, Peer peer)
        : answers_(std::move(answers)), query_(std::move(query)), peer_(std::move(peer)) {}

    py::tuple arguments() override {
        const py::tuple lent =
            py::make_tuple(sdk::lend_handle(answers_), sdk::lend_handle(query_));
        return lent + peer_.arguments();
    }
    // Answers are added to what was lent; what a handler returns means nothing, as in the official
    // plugin.
    void take(const py::object&) override {}
    std::string describe() const override {
        return std::string(Kind::what) + " from " + peer_.remote();
    }

private:
    const std::shared_ptr<Answers> answers_;
    const std::shared_ptr<Query> query_;
    const Peer peer_;
};

template <class Kind>
OrthancPluginErrorCode find(typename Kind::Answers* answers, const typename Kind::Query* query,
                            const Peer& peer) {
    using Question = FindQuestion<Kind>;
    const auto registry = Registry::current();
    if (!registry || !may_ask({})) {
        return OrthancPluginErrorCode_Plugin;
    }
    const std::string what = std::string(Kind::what) + " from " + peer.remote();
    const sdk::Loan<typename Question::Answers> lent_answers(answers, what);
    // Nothing is written through it: the class of the Python object has no const.
    const sdk::Loan<typename Question::Query> lent_query(const_cast<typename Kind::Query*>(query),
                                                         what);
    const auto question = std::make_shared<Question>(lent_answers.get(), lent_query.get(), peer);
    return ask_only(registry, Kind::family, question) == Outcome::Answered
               ? OrthancPluginErrorCode_Success
               : OrthancPluginErrorCode_Plugin;
}

// `peer`: what Peer's constructors take.
template <class Kind, class... Arguments>
OrthancPluginErrorCode on_find(typename Kind::Answers* answers, const typename Kind::Query* query,
                               Arguments... peer) noexcept {
    return in_callback(OrthancPluginErrorCode_Plugin, [&] {
        const Peer asking(peer...);
        const Peer::Call call(asking);
        return find<Kind>(answers, query, asking);
    });
}

template <class Kind>
void define_find(py::module_& module, const char* function, void (*hook)(OrthancPluginContext*)) {
    Registration registration{function, Kind::what, Kind::family};
    registration.only_one = true;
    registration.hook = hook;
    define(module, registration);
}

} // namespace

void add_find(py::module_& module) {
    define_find<Find>(module, "RegisterFindCallback", [](OrthancPluginContext* context) {
        check_scp_hooked(
            context,
            OrthancPluginRegisterFindCallback(context, &on_find<Find, const char*, const char*>),
            "RegisterFindCallback", "1.1.0");
    });
    define_find<Worklist>(module, "RegisterWorklistCallback", [](OrthancPluginContext* context) {
        check_scp_hooked(context,
                         OrthancPluginRegisterWorklistCallback(
                             context, &on_find<Worklist, const char*, const char*>),
                         "RegisterWorklistCallback", "1.0.0");
    });
#if ORTHANC_ASYNC_HAS_CONNECTIONS
    using Connected = const OrthancPluginDicomConnection*;
    define_find<Find>(module, "RegisterFindCallback2", [](OrthancPluginContext* context) {
        check_scp_hooked(context,
                         OrthancPluginRegisterFindCallback2(context, &on_find<Find, Connected>),
                         "RegisterFindCallback2", "1.12.10");
    });
    define_find<Worklist>(module, "RegisterWorklistCallback2", [](OrthancPluginContext* context) {
        check_scp_hooked(
            context,
            OrthancPluginRegisterWorklistCallback2(context, &on_find<Worklist, Connected>),
            "RegisterWorklistCallback2", "1.12.10");
    });
#endif
}

} // namespace orthanc_async::callbacks
