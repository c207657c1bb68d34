"""One public function a job: run, check, demo, evaluate, recommend."""
