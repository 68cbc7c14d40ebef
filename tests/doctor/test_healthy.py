from tests.doctor.conftest import ALL_OK, World


def test_a_healthy_world_gives_no_finding(world: World) -> None:
    walked = world.walk()
    assert walked.states == ALL_OK, walked.report
    assert walked.code == 0
