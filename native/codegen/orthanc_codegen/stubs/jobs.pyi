"""Jobs: native/callbacks/jobs.cpp."""

from collections.abc import Callable

@final
class Job:
    """A job of a script's for Orthanc's jobs engine, made with CreateJob.

    Orthanc asks for progress, content and serialization often: it gets what was set last, and
    shows it after the next step (for an `async def` step at most 0.2 s later). The setters may be
    called on any thread, also on the event loop.

    SDK function: OrthancPluginSubmitJob().
    """

    def SubmitJob(self, priority: int, /) -> str:
        """Hand the job to Orthanc, which owns it from then on.

        Args:
            priority: A job of a higher priority runs first.

        Returns:
            Orthanc's identifier of the job, as in /jobs/{id}.

        Raises:
            OrthancException: The call failed; before ORTHANC_STARTED it does. The job can then be
                submitted again.
            RuntimeError: Orthanc has the job already, or this is the running event loop.

        SDK function: OrthancPluginSubmitJob().
        """

    async def submit_job(self, priority: int, /) -> str:
        """Hand the job to Orthanc without blocking the loop; as SubmitJob.

        SDK function: OrthancPluginSubmitJob().
        """

    def SetProgress(self, progress: float, /) -> None:
        """Set what /jobs/{id} shows as progress.

        Args:
            progress: From 0 to 1.

        Raises:
            ValueError: It is not in that range.
        """

    def SetContent(self, json: str, /) -> None:
        """Set what /jobs/{id} shows as content.

        Args:
            json: A JSON object as text.

        Raises:
            ValueError: It is no JSON object.
        """

    def SetSerialized(self, json: str | None, /) -> None:
        """Set what Orthanc saves of the job; an unserializer makes the job again from it.

        Args:
            json: A JSON object as text, without a field "Type"; None: the job is not saved.

        Raises:
            ValueError: It is no such object.
        """

    @property
    def paused(self) -> bool:
        """Whether the job is paused: an `async def` step goes on meanwhile."""

    @property
    def type(self) -> str:
        """The type that was given to CreateJob."""

    async def wait_while_paused(self) -> None:
        """Wait until the job is resumed; return at once when it is not paused."""

def CreateJob(
    jobType: str,
    step: Callable[[Job], object],
    stop: Callable[[Job, JobStopReason], object] | None = None,
    reset: Callable[[Job], object] | None = None,
    /,
) -> Job:
    """Make a job; it runs once it is submitted with SubmitJob.

    Each function is a `def` or an `async def`. A `def` is called in place, on the job's thread: it
    should return soon, as Orthanc pauses or cancels a job only between two steps. An `async def`
    step may take as long as it likes: Orthanc's thread looks after it every 0.2 s. When the job is
    cancelled its task is cancelled, and Orthanc waits 5 s for it; when the job is paused the task
    goes on, and can wait with `await job.wait_while_paused()`. When Orthanc stops, the task is
    cancelled, and the job runs again at the next start if it was saved.

    Args:
        jobType: Given to the unserializers, and shown in /jobs/{id}.
        step: Called again and again with the job; returns a JobStepStatus. What raises, or returns
            anything else, fails the job.
        stop: Called when the job leaves the state "running", with the reason. At most 30 s.
        reset: Called before a failed or cancelled job runs again. At most 30 s.

    Raises:
        TypeError: One of them is no function.
        OrthancException: The call failed.

    SDK function: OrthancPluginCreateJob().
    """

def RegisterJobsUnserializer(callback: Callable[[str, str], object], /) -> None:
    """Register a function that makes saved jobs again when Orthanc starts.

    It is called with the job's type and its serialization, a JSON object as text, before
    ORTHANC_STARTED; it returns a Job from CreateJob that is not submitted, or None for a type that
    is not its own: then the next registered one is asked. It is a `def` or an `async def`, for
    which Orthanc waits 30 s. A job that nobody makes again is lost, with a warning in the log.

    Args:
        callback: The unserializer.

    Raises:
        TypeError: It is not callable.

    SDK function: OrthancPluginRegisterJobsUnserializer().
    """
